"""The model cases as data. Each is chosen so that one class of mistake cannot hide in it."""

from dataclasses import dataclass, field


@dataclass
class Run:
    """One call of a pipeline. Sizes in pixels; `reference` names a picture of `runs.reference_picture`."""

    name: str
    prompts: list[str]
    seeds: list[int]
    width: int
    height: int
    steps: int
    guidance: float = 3.5
    max_sequence_length: int = 24
    negative_prompt: str | None = None
    true_cfg: float = 1.0
    # (width, height) of the reference pictures, `references_each` for each prompt; empty: text to image.
    references: list[tuple[int, int]] = field(default_factory=list)
    resize_reference: bool = True
    references_each: int = 1
    pictures_each: int = 1
    shift: float | None = None
    # (width, height) of the picture to start from.
    start: tuple[int, int] | None = None
    strength: float | None = None


@dataclass
class Case:
    """A tiny model and what to run with it."""

    name: str
    kontext: bool
    storage: str  # dtype of the saved weights: "float32", "float16", "bfloat16"
    max_shard_size: str
    transformer: dict
    t5: dict
    clip: dict
    vae: dict
    scheduler: dict
    native_area: int
    runs: list[Run]
    tokenizer_json: bool = True  # False: the CLIP tokenizer is saved as vocab.json + merges.txt
    t5_normalizer: str = "identity"
    published_names: bool = False  # True: text encoders' tensors named as in the published FLUX.1 folders
    vae_trace: tuple[int, int] = (4, 6)  # latent (height, width) of the VAE's trace


SCHNELL = Case(
    name="schnell",
    kontext=False,
    storage="float32",
    max_shard_size="10GB",
    transformer=dict(
        num_layers=2,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        axes_dims_rope=(4, 6, 6),
        in_channels=16,
        joint_attention_dim=32,
        pooled_projection_dim=24,
        guidance_embeds=False,
    ),
    t5=dict(d_model=32, d_kv=8, num_heads=4, d_ff=48, num_layers=2, feed_forward_proj="gated-gelu"),
    clip=dict(hidden_size=24, num_attention_heads=3, intermediate_size=48, num_hidden_layers=2, hidden_act="quick_gelu"),
    vae=dict(block_out_channels=(8, 12, 16), layers_per_block=1, latent_channels=4, norm_num_groups=4, use_quant_conv=False, use_post_quant_conv=False),
    scheduler=dict(shift=1.0, use_dynamic_shifting=False),
    native_area=64 * 64,
    runs=[
        Run("text", ["a red circle left of a blue square"], [42], 48, 32, 4),
        Run("batch", ["a red circle", "a small green star on black, naïve 漢字 🙂"], [0, 2**32 + 5], 40, 56, 3, max_sequence_length=16),
        Run("tall", ["two yellow triangles"], [7], 24, 72, 2),
    ],
    tokenizer_json=False,
    published_names=True,
)

DEV = Case(
    name="dev",
    kontext=False,
    storage="bfloat16",
    max_shard_size="60KB",
    transformer=dict(
        num_layers=1,
        num_single_layers=3,
        attention_head_dim=16,
        num_attention_heads=3,
        axes_dims_rope=(8, 4, 4),
        in_channels=64,
        joint_attention_dim=40,
        pooled_projection_dim=32,
        guidance_embeds=True,
    ),
    t5=dict(d_model=40, d_kv=8, num_heads=3, d_ff=64, num_layers=3, feed_forward_proj="gated-gelu", relative_attention_num_buckets=8, relative_attention_max_distance=16),
    clip=dict(hidden_size=32, num_attention_heads=2, intermediate_size=64, num_hidden_layers=3, hidden_act="quick_gelu"),
    vae=dict(block_out_channels=(8, 8, 16, 16), layers_per_block=2, latent_channels=16, norm_num_groups=2, use_quant_conv=False, use_post_quant_conv=False),
    scheduler=dict(shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15),
    native_area=96 * 96,
    runs=[
        Run("text", ["a photograph of a large blue square above a small red circle, on a white background"], [2**63 + 11], 96, 64, 4),
        Run("true_cfg", ["a green star"], [3], 64, 48, 3, negative_prompt="blurry", true_cfg=2.5),
        Run("several", ["a red circle left of a blue square"], [42], 48, 32, 2, pictures_each=3),
        Run("shift", ["a red circle left of a blue square"], [42], 48, 32, 3, shift=1.75),
        Run("from_picture", ["a green star"], [11], 64, 48, 5, start=(81, 62), strength=0.55),
        Run(
            "from_picture_several",
            ["a green star"],
            [12],
            48,
            48,
            4,
            pictures_each=2,
            start=(40, 40),
            strength=1.0,
            shift=2.0,
            negative_prompt="blurry",
            true_cfg=1.5,
        ),
    ],
    t5_normalizer="nmt_nfkc",
    vae_trace=(2, 3),
)

KONTEXT = Case(
    name="kontext",
    kontext=True,
    storage="float16",
    max_shard_size="10GB",
    transformer=dict(
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=8,
        num_attention_heads=5,
        axes_dims_rope=(2, 2, 4),
        in_channels=32,
        joint_attention_dim=24,
        pooled_projection_dim=16,
        guidance_embeds=True,
    ),
    t5=dict(d_model=24, d_kv=12, num_heads=3, d_ff=48, num_layers=2, feed_forward_proj="gated-gelu"),
    clip=dict(hidden_size=16, num_attention_heads=1, intermediate_size=40, num_hidden_layers=2, hidden_act="quick_gelu", eos_token_id=2),
    vae=dict(block_out_channels=(8, 16), layers_per_block=1, latent_channels=8, norm_num_groups=8, use_quant_conv=True, use_post_quant_conv=True),
    scheduler=dict(shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15),
    native_area=48 * 48,
    runs=[
        Run("edit", ["make the circle green"], [42], 60, 40, 4, guidance=2.5, references=[(157, 93)]),
        Run("own_size", ["remove the star"], [1], 40, 40, 3, guidance=4.0, references=[(53, 38)], resize_reference=False),
        Run("batch", ["make the circle green", "swap the two colours"], [5, 6], 44, 32, 3, guidance=2.5, references=[(90, 64), (90, 64)]),
        Run("two_references", ["the circle beside the square"], [8], 44, 40, 3, guidance=2.5, references=[(157, 93), (60, 90)], references_each=2),
        Run(
            "several",
            ["remove the square"],
            [21],
            40,
            44,
            2,
            guidance=2.5,
            references=[(93, 50), (64, 64), (90, 64)],
            references_each=3,
            pictures_each=2,
            negative_prompt="a circle",
            true_cfg=2.0,
        ),
        Run("no_reference", ["a red circle left of a blue square"], [9], 48, 40, 3, guidance=2.5),
    ],
)

PLAIN = Case(
    name="plain",
    kontext=False,
    storage="float32",
    max_shard_size="10GB",
    transformer=dict(
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=20,
        num_attention_heads=1,
        axes_dims_rope=(4, 8, 8),
        in_channels=16,
        joint_attention_dim=20,
        pooled_projection_dim=20,
        guidance_embeds=False,
    ),
    # The first T5: ReLU, no gate; CLIP with the exact GELU of the larger models.
    t5=dict(d_model=20, d_kv=4, num_heads=5, d_ff=40, num_layers=2, feed_forward_proj="relu"),
    clip=dict(hidden_size=20, num_attention_heads=5, intermediate_size=40, num_hidden_layers=1, hidden_act="gelu"),
    vae=dict(block_out_channels=(6, 12), layers_per_block=2, latent_channels=4, norm_num_groups=3, use_quant_conv=True, use_post_quant_conv=True, mid_block_add_attention=False),
    scheduler=dict(shift=2.0, use_dynamic_shifting=False),
    native_area=32 * 32,
    runs=[Run("text", ["a yellow star"], [123456789], 36, 28, 3, max_sequence_length=12)],
)

CASES = [SCHNELL, DEV, KONTEXT, PLAIN]
