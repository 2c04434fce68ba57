//! What outsiders see of the catalogue: its tools, and what they make of a request's fields.

use serde_json::{Value, json};
use tintype_catalog::{
    AspectRatio, Catalog, ImageReference, Inputs, MAX_PROMPT_CHARS, MAX_REFERENCE_CHARS,
    OutputFormat, Tool,
};
use tintype_domain::ToolSlug;

fn tool(model: &str) -> Tool {
    let slug = ToolSlug::new("black-forest-labs", model);
    Catalog::builtin()
        .tool(&slug)
        .expect("the tool is there")
        .clone()
}

fn fields(value: Value) -> Vec<(String, Value)> {
    let object = value.as_object().expect("an object").clone();
    object.into_iter().collect()
}

fn validate(model: &str, value: Value) -> Result<Inputs, Vec<String>> {
    let errors =
        |errors: Vec<tintype_catalog::InputError>| errors.iter().map(ToString::to_string).collect();
    tool(model).validate(&fields(value)).map_err(errors)
}

fn valid(model: &str, value: Value) -> Inputs {
    validate(model, value).expect("valid fields")
}

fn sources(inputs: &Inputs) -> Vec<ImageReference> {
    let sources = inputs.images.iter().map(|image| image.source.clone());
    sources.collect()
}

/// The effective value of one field, or the sentence that refuses it.
fn effective(id: &str, value: Value) -> String {
    let mut request = json!({ "prompt": "a red circle" });
    request[id] = value;
    match validate("flux-kontext-max", request) {
        Ok(inputs) => {
            let id = if id == "inputImage" {
                "inputImageUrl"
            } else {
                id
            };
            inputs.parameters[id].as_str().expect("a string").to_owned()
        }
        Err(sentences) => format!("! {}", sentences.join(" | ")),
    }
}

#[test]
fn the_catalogue_is_what_clients_were_promised() {
    insta::assert_json_snapshot!(Catalog::builtin().tools());
}

#[test]
fn unknown_addresses_have_no_tool() {
    let catalog = Catalog::builtin();
    for (owner, model) in [
        ("black-forest-labs", "flux-pro-1.0"),
        ("someone-else", "flux-pro-1.1"),
        ("black-forest-labs", "FLUX-PRO-1.1"),
        ("", ""),
    ] {
        assert!(
            catalog.tool(&ToolSlug::new(owner, model)).is_none(),
            "{owner}/{model}"
        );
    }
}

#[test]
fn the_defaults_of_every_tool_are_valid_inputs() {
    for tool in Catalog::builtin().tools() {
        let defaults: Vec<_> = tool
            .inputs
            .iter()
            .map(|input| (input.id.clone(), json!(input.default)))
            .collect();
        let inputs = tool.validate(&defaults).expect("valid defaults");
        assert_eq!(inputs.seed, Some(42));
    }
}

#[test]
fn the_documented_edit_is_read_as_documented() {
    let inputs = valid(
        "flux-kontext-max",
        json!({
            "inputImageUrl": "input-depth-to-image-4.jpg",
            "prompt": "Enhance the cookie package.",
            "promptUpsampling": "false",
            "safetyTolerance": "2",
            "aspectRatio": "",
            "seed": "42",
            "outputFormat": "jpeg",
            "callbackUrl": "You can provide a callback URL",
        }),
    );
    let image = ImageReference::NameOrBase64("input-depth-to-image-4.jpg".into());
    assert_eq!(sources(&inputs), [image]);
    assert_eq!(inputs.prompt, "Enhance the cookie package.");
    assert_eq!(inputs.seed, Some(42));
    assert_eq!(inputs.aspect_ratio, AspectRatio::MatchInput);
    assert_eq!(inputs.output_format, OutputFormat::Jpeg);
    assert!(!inputs.prompt_upsampling);
    assert_eq!(inputs.safety_tolerance, 2);
    insta::assert_json_snapshot!(inputs.parameters);
}

#[test]
fn a_bare_prompt_takes_every_default() {
    let inputs = valid("flux-pro-1.1", json!({ "prompt": "a red circle" }));
    assert_eq!(inputs.images, []);
    assert_eq!(
        inputs.aspect_ratio,
        AspectRatio::Ratio {
            width: 16,
            height: 9
        }
    );
    assert_eq!(inputs.output_format, OutputFormat::Png);
    insta::assert_json_snapshot!(inputs.parameters);
}

#[test]
fn fields_left_empty_take_the_default_and_an_empty_seed_is_random() {
    let empty = json!({
        "prompt": "a red circle", "promptUpsampling": "", "safetyTolerance": "",
        "aspectRatio": "", "seed": "", "outputFormat": "",
    });
    let mut inputs = valid("flux-pro-1.1", empty);
    assert_eq!(
        inputs.aspect_ratio,
        AspectRatio::Ratio {
            width: 16,
            height: 9
        }
    );
    assert_eq!(inputs.seed, None);
    inputs.settle_seed(|| 7);
    assert_eq!(inputs.seed, Some(7));
    assert_eq!(inputs.parameters["seed"], "7");
    inputs.settle_seed(|| 8);
    assert_eq!(inputs.seed, Some(7), "a seed is settled once");
}

#[test]
fn recorded_parameters_give_the_same_inputs_again() {
    for model in ["flux-kontext-max", "flux-pro-1.1"] {
        let mut first = valid(
            model,
            json!({
                "prompt": " two spaces ", "seed": "", "outputFormat": "JPG",
                "safetyTolerance": [6], "promptUpsampling": true, "aspectRatio": ["21:9"],
                "inputImage": " https://example.org/a.png ",
            }),
        );
        first.settle_seed(|| u64::MAX);
        let recorded: Vec<_> = first.parameters.clone().into_iter().collect();
        assert_eq!(tool(model).validate(&recorded), Ok(first));
    }
}

#[test]
fn a_stored_upload_takes_the_place_of_what_was_sent() {
    let mut inputs = valid(
        "flux-kontext-max",
        json!({ "prompt": "x", "inputImage": "a.jpg" }),
    );
    inputs.settle_image(0, "https://here.example/d/a.jpg".into());
    assert_eq!(
        inputs.parameters["inputImageUrl"],
        "https://here.example/d/a.jpg"
    );
    assert_eq!(
        sources(&inputs),
        [ImageReference::Url("https://here.example/d/a.jpg".into())]
    );
}

#[test]
fn values_are_coerced_whatever_type_a_client_sends() {
    for (id, value, expected) in [
        ("seed", json!(42), "42"),
        ("seed", json!("42"), "42"),
        ("seed", json!(42.0), "42"),
        ("seed", json!(["42"]), "42"),
        ("seed", json!(" 42 "), "42"),
        ("seed", json!(null), "42"),
        ("seed", json!([]), "42"),
        ("seed", json!(0), "0"),
        ("seed", json!(u64::MAX), "18446744073709551615"),
        ("safetyTolerance", json!(0), "0"),
        ("safetyTolerance", json!("6"), "6"),
        ("safetyTolerance", json!([2.0]), "2"),
        ("promptUpsampling", json!(true), "true"),
        ("promptUpsampling", json!("True"), "true"),
        ("promptUpsampling", json!("YES"), "true"),
        ("promptUpsampling", json!(1), "true"),
        ("promptUpsampling", json!(0), "false"),
        ("promptUpsampling", json!("no"), "false"),
        ("aspectRatio", json!("16:9"), "16:9"),
        ("aspectRatio", json!("match_input_image"), ""),
        ("aspectRatio", json!([""]), ""),
        ("outputFormat", json!("PNG"), "png"),
        ("outputFormat", json!("jpg"), "jpeg"),
        (
            "inputImage",
            json!(["https://example.org/a.png"]),
            "https://example.org/a.png",
        ),
        ("inputImageUrl", json!(""), ""),
        ("prompt", json!(["a blue square"]), "a blue square"),
        ("prompt", json!(42), "42"),
    ] {
        assert_eq!(effective(id, value.clone()), expected, "{id}: {value}");
    }
}

#[test]
fn what_no_run_can_use_is_refused_with_the_sentence_of_the_contract() {
    let seed_range = "! Request parameter [seed] must be between 0 and 18446744073709551615";
    let safety_range = "! Request parameter [safetyTolerance] must be between 0 and 6";
    for (id, value, expected) in [
        ("prompt", json!(""), "! Request parameter [prompt] required"),
        (
            "prompt",
            json!("   "),
            "! Request parameter [prompt] required",
        ),
        (
            "prompt",
            json!(null),
            "! Request parameter [prompt] required",
        ),
        (
            "prompt",
            json!({ "text": "x" }),
            "! Request parameters are invalid. [prompt] must be a single value",
        ),
        (
            "prompt",
            json!("x".repeat(MAX_PROMPT_CHARS + 1)),
            "! Request parameter [prompt] must be between 1 and 10000 characters",
        ),
        (
            "inputImage",
            json!(format!(
                "https://example.org/{}",
                "x".repeat(MAX_REFERENCE_CHARS)
            )),
            "! Request parameter [inputImageUrl] must be between 1 and 8192 characters",
        ),
        (
            "inputImageUrl",
            json!(["a.png", "b.png"]),
            "! Request parameters are invalid. [inputImageUrl] must be a single value",
        ),
        (
            "seed",
            json!("lucky"),
            "! Request parameter [seed] must be integer or float",
        ),
        (
            "seed",
            json!("NaN"),
            "! Request parameter [seed] must be integer or float",
        ),
        (
            "seed",
            json!(true),
            "! Request parameter [seed] must be integer or float",
        ),
        ("seed", json!(-1), seed_range),
        ("seed", json!("18446744073709551616"), seed_range),
        ("seed", json!("1e400"), seed_range),
        ("safetyTolerance", json!(7), safety_range),
        ("safetyTolerance", json!(-1), safety_range),
        (
            "safetyTolerance",
            json!("strict"),
            "! Request parameter [safetyTolerance] must be integer or float",
        ),
        (
            "outputFormat",
            json!("gif"),
            "! Request parameters are invalid. [outputFormat] must be one of: jpeg, png",
        ),
        (
            "promptUpsampling",
            json!("maybe"),
            "! Request parameters are invalid. [promptUpsampling] must be one of: false, true",
        ),
    ] {
        assert_eq!(effective(id, value.clone()), expected, "{id}");
    }
}

#[test]
fn every_fault_is_told_at_once_in_the_order_of_the_form() {
    let request = json!({ "seed": "x", "aspectRatio": "7:5", "outputFormat": "bmp" });
    insta::assert_json_snapshot!(validate("flux-pro-1.1", request).unwrap_err());
}

#[test]
fn inline_pictures_are_longer_than_names_may_be() {
    let picture = "iVBORw0KGgo".repeat(MAX_REFERENCE_CHARS);
    assert_eq!(effective("inputImage", json!(picture)), picture);
    let uri = format!("data:image/png;base64,{picture}");
    assert_eq!(effective("inputImage", json!(uri)), uri);
}

#[test]
fn an_empty_alias_gives_way_to_the_name_that_says_something() {
    let url = "https://example.org/a.png";
    for request in [
        json!({ "prompt": "x", "inputImage": "", "inputImageUrl": url }),
        json!({ "prompt": "x", "inputImage": url, "inputImageUrl": "" }),
        json!({ "prompt": "x", "inputImage": [url] }),
    ] {
        assert_eq!(
            valid("flux-kontext-max", request).parameters["inputImageUrl"],
            url
        );
    }
}

#[test]
fn surplus_fields_are_ignored_and_not_echoed() {
    let request =
        json!({ "prompt": "x", "projectid": "7", "sampler": "euler", "inputImage2": "a" });
    let inputs = valid("flux-pro-1.1", request);
    let ids: Vec<_> = inputs.parameters.keys().map(String::as_str).collect();
    let expected = [
        "prompt",
        "promptUpsampling",
        "safetyTolerance",
        "aspectRatio",
        "seed",
        "outputFormat",
    ];
    assert_eq!(ids, expected);
    assert_eq!(inputs.images, []);
}

/// What existing clients send is echoed as ever: of what this service adds, nothing shows unless it
/// was asked for.
#[test]
fn extra_parameters_show_only_when_they_say_something() {
    for tool in Catalog::builtin().tools() {
        let ids = |value: Value| {
            let inputs = tool.validate(&fields(value)).expect("valid");
            inputs.parameters.keys().cloned().collect::<Vec<_>>()
        };
        let published: Vec<String> = tool.inputs.iter().map(|input| input.id.clone()).collect();
        assert_eq!(ids(json!({ "prompt": "x" })), published);
        let mut left_empty = json!({ "prompt": "x" });
        for extra in &tool.extras {
            left_empty[&extra.id] = json!("");
        }
        assert_eq!(ids(left_empty), published);
        assert!(tool.extras.iter().all(|extra| !extra.required));
    }
}

#[test]
fn extra_parameters_are_read_and_echoed_as_numbers_are_written() {
    let inputs = valid(
        "flux-kontext-max",
        json!({
            "prompt": "x", "numOutputs": "3", "steps": 12.0, "guidance": "3.50", "shift": [1.15],
            "negativePrompt": "rain", "trueCfg": 2, "inputImage": "a.png",
            "inputImage3": "https://example.org/c.png", "inputImage2Url": "b.png",
        }),
    );
    assert_eq!(inputs.num_outputs, 3);
    let sampler = &inputs.sampler;
    assert_eq!((sampler.steps, sampler.guidance), (Some(12), Some(3.5)));
    assert_eq!((sampler.shift, sampler.true_cfg), (Some(1.15), Some(2.0)));
    assert_eq!(sampler.negative_prompt.as_deref(), Some("rain"));
    let named = |name: &str| ImageReference::NameOrBase64(name.into());
    let url = ImageReference::Url("https://example.org/c.png".into());
    assert_eq!(sources(&inputs), [named("a.png"), named("b.png"), url]);
    assert!(inputs.images.iter().all(|image| !image.starts));
    insta::assert_json_snapshot!(inputs.parameters);
    let recorded: Vec<_> = inputs.parameters.clone().into_iter().collect();
    assert_eq!(tool("flux-kontext-max").validate(&recorded), Ok(inputs));
}

#[test]
fn extra_parameters_have_bounds_that_are_told() {
    for (id, value, expected) in [
        ("numOutputs", json!(5), "between 1 and 4"),
        ("numOutputs", json!(0), "between 1 and 4"),
        ("steps", json!(51), "between 1 and 50"),
        ("steps", json!("many"), "must be integer or float"),
        ("guidance", json!(20.5), "between 0 and 20"),
        ("guidance", json!(-0.1), "between 0 and 20"),
        ("guidance", json!("inf"), "between 0 and 20"),
        ("guidance", json!("NaN"), "must be integer or float"),
        ("shift", json!(0), "between 0.1 and 20"),
        ("trueCfg", json!(0.5), "between 1 and 20"),
        ("strength", json!(0), "between 0.01 and 1"),
        ("strength", json!(1.01), "between 0.01 and 1"),
        (
            "negativePrompt",
            json!("x".repeat(10_001)),
            "10000 characters",
        ),
        (
            "negativePrompt",
            json!(["a", "b"]),
            "must be a single value",
        ),
    ] {
        let mut request = json!({ "prompt": "x" });
        request[id] = value.clone();
        let sentences = validate("flux-pro-1.1", request).expect_err("out of bounds");
        let [sentence] = sentences.as_slice() else {
            panic!("{sentences:?}");
        };
        assert!(sentence.contains(&format!("[{id}]")), "{sentence}");
        assert!(sentence.contains(expected), "{id} {value}: {sentence}");
    }
}

#[test]
fn a_picture_to_start_from_has_the_ratio_unless_one_is_named() {
    let with_ratio = |ratio: Value| {
        valid(
            "flux-pro-1.1",
            json!({
                "prompt": "x", "inputImageUrl": "a.png", "strength": "0.75", "aspectRatio": ratio,
            }),
        )
    };
    for unsaid in [json!(null), json!("")] {
        let inputs = with_ratio(unsaid);
        assert!(inputs.images[0].starts);
        assert_eq!(inputs.images[0].id, "inputImage");
        assert_eq!(inputs.strength, Some(0.75));
        assert_eq!(inputs.aspect_ratio, AspectRatio::MatchInput);
        assert!(!inputs.parameters.contains_key("aspectRatio"));
        let recorded: Vec<_> = inputs.parameters.clone().into_iter().collect();
        assert_eq!(tool("flux-pro-1.1").validate(&recorded), Ok(inputs));
    }
    let square = with_ratio(json!("1:1"));
    assert_eq!(square.parameters["aspectRatio"], "1:1");
    let (width, height) = (1, 1);
    assert_eq!(square.aspect_ratio, AspectRatio::Ratio { width, height });
}

#[test]
fn a_tool_s_file_names_only_parameters_that_there_are() {
    let file = json!({
        "owner": "o", "model": "m", "description": "", "cover": "", "categories": [], "tags": [],
        "sizes": "pro", "inputs": [], "extras": ["steps", "stepps"],
    });
    let error = Catalog::parse(&[&file.to_string()]).expect_err("an unknown name");
    assert!(
        error.to_string().contains("no extra parameter stepps"),
        "{error}"
    );
}

#[test]
fn loras_are_names_with_weights() {
    for slug in ["flux-kontext-max", "flux-pro-1.1"] {
        let inputs = valid(
            slug,
            json!({ "prompt": "x", "loras": "style:0.8, detail:-0.3" }),
        );
        let loras = inputs.loras.clone().expect("some were asked for");
        let named: Vec<_> = loras.iter().map(|l| (l.name.as_str(), l.weight)).collect();
        assert_eq!(named, [("style", 0.8), ("detail", -0.3)]);
        assert_eq!(inputs.parameters["loras"], "style:0.8, detail:-0.3");
        let none = valid(slug, json!({ "prompt": "x", "loras": "none" }));
        assert_eq!(none.loras, Some(Vec::new()));
        let unsaid = valid(slug, json!({ "prompt": "x", "loras": "" }));
        assert_eq!(unsaid.loras, None);
        for (bad, expected) in [
            ("../../etc/passwd", "no name of a LoRA"),
            ("style:much", "no weight of a LoRA"),
            ("a,b,a", "the LoRA a is named twice"),
        ] {
            let refused = tool(slug).validate(&fields(json!({ "prompt": "x", "loras": bad })));
            let faults = refused.expect_err("no LoRAs");
            assert_eq!(faults.len(), 1);
            assert!(faults[0].to_string().contains(expected), "{}", faults[0]);
        }
    }
}
