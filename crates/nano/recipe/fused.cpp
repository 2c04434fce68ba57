// What lies between the large products of a transformer block, each in one pass and with its gradient: layer norm with
// modulation, GELU, gated addition, and attention with its norms and rotation, a head at a time so that scores stay in
// the second-level cache. f32, one thread; called from fused.py, which compiles this file. All sizes are in floats.

#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

typedef float v8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t i8 __attribute__((vector_size(32), aligned(4), may_alias));

constexpr int HEAD = 32, LANES = 8, VECTORS = HEAD / LANES;
constexpr int MOST = 192;  // tokens of an attention, a multiple of 16 and of 6
constexpr float EPSILON = 1e-6f, SCALE = 0.17677669529663687f;  // 32 ** -0.5

inline v8 load(const float* p) { return *(const v8*)p; }
inline void store(float* p, v8 x) { *(v8*)p = x; }
inline v8 all(float x) { return v8{x, x, x, x, x, x, x, x}; }
inline float sum(v8 x) { return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7])); }
inline v8 swap_pairs(v8 x) { return __builtin_shuffle(x, i8{1, 0, 3, 2, 5, 4, 7, 6}); }

// Cephes' polynomial; relative error about 1e-7 between -87 and 88, clamped beyond.
inline v8 exponential(v8 x) {
  x = x < all(-87.f) ? all(-87.f) : x;
  x = x > all(88.f) ? all(88.f) : x;
  const v8 shifted = x * all(1.44269504088896341f) + all(12582912.f);
  const v8 n = shifted - all(12582912.f);
  const v8 r = (x - n * all(0.693359375f)) + n * all(2.12194440e-4f);
  v8 p = all(1.9875691500e-4f);
  p = p * r + all(1.3981999507e-3f);
  p = p * r + all(8.3334519073e-3f);
  p = p * r + all(4.1665795894e-2f);
  p = p * r + all(1.6666665459e-1f);
  p = p * r + all(5.0000001201e-1f);
  p = p * r * r + r + all(1.f);
  const i8 power = (__builtin_convertvector(n, i8) + 127) << 23;
  return p * (v8)power;
}

inline v8 sigmoid(v8 x) { return all(1.f) / (all(1.f) + exponential(-x)); }

// ---------------------------------------------------------------- small products; rows of A and C in steps of 6

// C[i][j] = sum over d of A[i][d] * Bt[d][j]; columns in steps of 16
void times_transposed(const float* a, const float* bt, float* c, int rows, int columns) {
  for (int i = 0; i < rows; i += 6)
    for (int j = 0; j < columns; j += 16) {
      v8 acc[6][2] = {};
      for (int d = 0; d < HEAD; d++) {
        const v8 left = load(bt + d * columns + j), right = load(bt + d * columns + j + 8);
#pragma GCC unroll 6
        for (int r = 0; r < 6; r++) {
          const v8 x = all(a[(i + r) * HEAD + d]);
          acc[r][0] += x * left;
          acc[r][1] += x * right;
        }
      }
#pragma GCC unroll 6
      for (int r = 0; r < 6; r++) {
        store(c + (i + r) * columns + j, acc[r][0]);
        store(c + (i + r) * columns + j + 8, acc[r][1]);
      }
    }
}

// O[i] = sum over j < count of P[i * row + j * column] * V[j], three rows of 32 at a time
void weighted_rows(const float* p, int row, int column, const float* v, float* o, int rows, int count) {
  for (int i = 0; i < rows; i += 3) {
    v8 acc[3][VECTORS] = {};
    for (int j = 0; j < count; j++) {
      const float* from = v + j * HEAD;
#pragma GCC unroll 3
      for (int r = 0; r < 3; r++) {
        const v8 x = all(p[(i + r) * row + j * column]);
#pragma GCC unroll 4
        for (int d = 0; d < VECTORS; d++) acc[r][d] += x * load(from + d * LANES);
      }
    }
#pragma GCC unroll 3
    for (int r = 0; r < 3; r++)
#pragma GCC unroll 4
      for (int d = 0; d < VECTORS; d++) store(o + (i + r) * HEAD + d * LANES, acc[r][d]);
  }
}

// ---------------------------------------------------------------- attention

// Consecutive tokens whose values lie together. The gradient's buffers are laid out as those that they belong to.
struct Segment {
  int64_t count;
  const float *query, *key, *value;  // query may be null: these tokens do not ask
  int64_t query_row, query_batch, key_row, key_batch;
  float* out;
  int64_t out_row, out_batch;
  const float *query_weight, *key_weight;
  float *query_gradient, *key_gradient, *value_gradient, *query_weight_gradient, *key_weight_gradient;
};

struct Workspace {
  float q[(MOST + 6) * HEAD], k[(MOST + 6) * HEAD], v[(MOST + 6) * HEAD], o[(MOST + 6) * HEAD];
  float dq[(MOST + 6) * HEAD], dk[(MOST + 6) * HEAD], dv[(MOST + 6) * HEAD];
  float kt[HEAD * MOST], vt[HEAD * MOST];
  float p[(MOST + 6) * MOST + 16], dp[(MOST + 6) * MOST + 16];
};
alignas(64) Workspace w;

inline float inverse_norm(const float* x) {
  v8 squares = {};
  for (int d = 0; d < HEAD; d += LANES) squares += load(x + d) * load(x + d);
  return 1.f / std::sqrt(sum(squares) / HEAD + EPSILON);
}

void norm_and_turn(const float* x, const float* weight, const float* cosine, const float* sine, float scale, float* to) {
  const v8 factor = all(inverse_norm(x) * scale);
  for (int d = 0; d < HEAD; d += LANES) {
    const v8 y = load(x + d) * factor * load(weight + d);
    store(to + d, y * load(cosine + d) + swap_pairs(y) * load(sine + d));
  }
}

void norm_and_turn_back(const float* g, const float* x, const float* weight, const float* cosine, const float* sine, float scale,
                        float* to, float* weight_gradient) {
  const float inverse = inverse_norm(x);
  v8 normed[VECTORS], back[VECTORS], along = {};
  for (int i = 0; i < VECTORS; i++) {
    const int d = i * LANES;
    const v8 gradient = load(g + d), turned = gradient * load(cosine + d) + swap_pairs(gradient * load(sine + d));
    normed[i] = load(x + d) * all(inverse);
    store(weight_gradient + d, load(weight_gradient + d) + turned * normed[i] * all(scale));
    back[i] = turned * load(weight + d) * all(scale);
    along += back[i] * normed[i];
  }
  const v8 mean = all(sum(along) / HEAD);
  for (int i = 0; i < VECTORS; i++) store(to + i * LANES, all(inverse) * (back[i] - normed[i] * mean));
}

void transpose(const float* x, float* to, int rows, int columns) {
  memset(to, 0, sizeof(float) * HEAD * columns);
  for (int i = 0; i < rows; i++)
    for (int d = 0; d < HEAD; d++) to[d * columns + i] = x[i * HEAD + d];
}

struct Gathered {
  int asking, tokens, rows, columns;  // rows and columns: of the scores, padded
};

Gathered gather(const Segment* segments, int count, int batch, int head, const float* cosine, const float* sine) {
  int token = 0, asking = 0;
  for (const Segment* s = segments; s < segments + count; s++)
    for (int i = 0; i < s->count; i++, token++) {
      const int64_t key = batch * s->key_batch + i * s->key_row + head * HEAD;
      norm_and_turn(s->key + key, s->key_weight, cosine + token * HEAD, sine + token * HEAD, 1.f, w.k + token * HEAD);
      memcpy(w.v + token * HEAD, s->value + key, sizeof(float) * HEAD);
      if (s->query)
        norm_and_turn(s->query + batch * s->query_batch + i * s->query_row + head * HEAD, s->query_weight, cosine + token * HEAD,
                      sine + token * HEAD, SCALE, w.q + asking++ * HEAD);
    }
  const Gathered g = {asking, token, (asking + 5) / 6 * 6, (token + 15) / 16 * 16};
  memset(w.q + asking * HEAD, 0, sizeof(float) * (g.rows - asking) * HEAD);
  transpose(w.k, w.kt, token, g.columns);
  return g;
}

// Scores to shares; `logs` receives each row's logarithm of the sum of exponentials.
void softmax(const Gathered& g, float* logs) {
  for (int i = 0; i < g.asking; i++) {
    float* row = w.p + i * g.columns;
    for (int j = g.tokens; j < g.columns; j++) row[j] = -1e30f;
    v8 most = load(row), total = {};
    for (int j = LANES; j < g.columns; j += LANES) most = load(row + j) > most ? load(row + j) : most;
    float highest = most[0];
    for (int lane = 1; lane < LANES; lane++) highest = most[lane] > highest ? most[lane] : highest;
    for (int j = 0; j < g.columns; j += LANES) {
      const v8 e = exponential(load(row + j) - all(highest));
      store(row + j, e);
      total += e;
    }
    const float whole = sum(total);
    for (int j = 0; j < g.columns; j += LANES) store(row + j, load(row + j) * all(1.f / whole));
    logs[i] = highest + std::log(whole);
  }
}

void shares_again(const Gathered& g, const float* logs) {
  for (int i = 0; i < g.asking; i++) {
    float* row = w.p + i * g.columns;
    for (int j = g.tokens; j < g.columns; j++) row[j] = -1e30f;
    for (int j = 0; j < g.columns; j += LANES) store(row + j, exponential(load(row + j) - all(logs[i])));
  }
}

// dp: gradient of the shares -> gradient of the scores
void softmax_back(const Gathered& g) {
  for (int i = 0; i < g.asking; i++) {
    const float* p = w.p + i * g.columns;
    float* dp = w.dp + i * g.columns;
    v8 along = {};
    for (int j = 0; j < g.columns; j += LANES) along += load(p + j) * load(dp + j);
    const v8 mean = all(sum(along));
    for (int j = 0; j < g.columns; j += LANES) store(dp + j, load(p + j) * (load(dp + j) - mean));
  }
}

}  // namespace

extern "C" {

// logs: (batch, heads, asking)
void attend(const Segment* segments, int count, int batches, int heads, const float* cosine, const float* sine, float* logs) {
  for (int b = 0; b < batches; b++)
    for (int h = 0; h < heads; h++) {
      const Gathered g = gather(segments, count, b, h, cosine, sine);
      times_transposed(w.q, w.kt, w.p, g.rows, g.columns);
      softmax(g, logs);
      logs += g.asking;
      weighted_rows(w.p, g.columns, 1, w.v, w.o, g.rows, g.tokens);
      const float* o = w.o;
      for (const Segment* s = segments; s < segments + count; s++)
        for (int i = 0; s->query && i < s->count; i++, o += HEAD)
          memcpy(s->out + b * s->out_batch + i * s->out_row + h * HEAD, o, sizeof(float) * HEAD);
    }
}

// `out` of the segments is the gradient of what attend wrote. Weight gradients are added to, the others written.
void attend_back(const Segment* segments, int count, int batches, int heads, const float* cosine, const float* sine, const float* logs) {
  for (int b = 0; b < batches; b++)
    for (int h = 0; h < heads; h++) {
      const Gathered g = gather(segments, count, b, h, cosine, sine);
      float* o = w.o;
      for (const Segment* s = segments; s < segments + count; s++)
        for (int i = 0; s->query && i < s->count; i++, o += HEAD)
          memcpy(o, s->out + b * s->out_batch + i * s->out_row + h * HEAD, sizeof(float) * HEAD);
      memset(o, 0, sizeof(float) * (g.rows - g.asking) * HEAD);
      times_transposed(w.q, w.kt, w.p, g.rows, g.columns);
      shares_again(g, logs);
      logs += g.asking;
      transpose(w.v, w.vt, g.tokens, g.columns);
      times_transposed(w.o, w.vt, w.dp, g.rows, g.columns);
      weighted_rows(w.p, 1, g.columns, w.o, w.dv, (g.tokens + 2) / 3 * 3, g.asking);
      softmax_back(g);
      weighted_rows(w.dp, g.columns, 1, w.k, w.dq, g.rows, g.tokens);
      weighted_rows(w.dp, 1, g.columns, w.q, w.dk, (g.tokens + 2) / 3 * 3, g.asking);
      int token = 0, asking = 0;
      for (const Segment* s = segments; s < segments + count; s++)
        for (int i = 0; i < s->count; i++, token++) {
          const int64_t key = b * s->key_batch + i * s->key_row + h * HEAD;
          norm_and_turn_back(w.dk + token * HEAD, s->key + key, s->key_weight, cosine + token * HEAD, sine + token * HEAD, 1.f,
                             s->key_gradient + key, s->key_weight_gradient);
          memcpy(s->value_gradient + key, w.dv + token * HEAD, sizeof(float) * HEAD);
          if (!s->query) continue;
          const int64_t query = b * s->query_batch + i * s->query_row + h * HEAD;
          norm_and_turn_back(w.dq + asking++ * HEAD, s->query + query, s->query_weight, cosine + token * HEAD, sine + token * HEAD,
                             SCALE, s->query_gradient + query, s->query_weight_gradient);
        }
    }
}

// y = norm(x) * (1 + scale) + shift, rows of `width`; shift and scale are one row a batch, `stride` apart.
// kept: (batch, tokens, 2) mean and inverse deviation.
void modulate(const float* x, const float* shift, const float* scale, int64_t stride, float* y, float* kept, int batches, int tokens, int width) {
  for (int b = 0; b < batches; b++)
    for (int t = 0; t < tokens; t++, x += width, y += width, kept += 2) {
      v8 total = {}, squares = {};
      for (int c = 0; c < width; c += LANES) total += load(x + c);
      const float mean = sum(total) / width;
      for (int c = 0; c < width; c += LANES) {
        const v8 d = load(x + c) - all(mean);
        squares += d * d;
      }
      const float inverse = 1.f / std::sqrt(sum(squares) / width + EPSILON);
      kept[0] = mean, kept[1] = inverse;
      for (int c = 0; c < width; c += LANES)
        store(y + c, (load(x + c) - all(mean)) * all(inverse) * (all(1.f) + load(scale + b * stride + c)) + load(shift + b * stride + c));
    }
}

// g: gradient of y -> dx; dshift and dscale (batch, width) are added to
void modulate_back(const float* g, const float* x, const float* scale, int64_t stride, const float* kept, float* dx, float* dshift,
                   float* dscale, int batches, int tokens, int width) {
  for (int b = 0; b < batches; b++, dshift += width, dscale += width)
    for (int t = 0; t < tokens; t++, g += width, x += width, dx += width, kept += 2) {
      const v8 mean = all(kept[0]), inverse = all(kept[1]);
      v8 total = {}, along = {};
      for (int c = 0; c < width; c += LANES) {
        const v8 gradient = load(g + c), normed = (load(x + c) - mean) * inverse;
        store(dshift + c, load(dshift + c) + gradient);
        store(dscale + c, load(dscale + c) + gradient * normed);
        const v8 back = gradient * (all(1.f) + load(scale + b * stride + c));
        total += back;
        along += back * normed;
      }
      const v8 average = all(sum(total) / width), slope = all(sum(along) / width);
      for (int c = 0; c < width; c += LANES) {
        const v8 normed = (load(x + c) - mean) * inverse;
        store(dx + c, inverse * (load(g + c) * (all(1.f) + load(scale + b * stride + c)) - average - normed * slope));
      }
    }
}

// GELU (tanh) of rows: x and y have their own distances between rows
void gelu(const float* x, int64_t x_row, float* y, int64_t y_row, int rows, int width) {
  for (int i = 0; i < rows; i++, x += x_row, y += y_row)
    for (int c = 0; c < width; c += LANES) {
      const v8 v = load(x + c), u = v * (all(1.5957691216f) + all(0.0713548163f) * v * v);
      store(y + c, v * sigmoid(u));
    }
}

void gelu_back(const float* g, int64_t g_row, const float* x, float* dx, int64_t x_row, int rows, int width) {
  for (int i = 0; i < rows; i++, g += g_row, x += x_row, dx += x_row)
    for (int c = 0; c < width; c += LANES) {
      const v8 v = load(x + c), u = v * (all(1.5957691216f) + all(0.0713548163f) * v * v), s = sigmoid(u);
      const v8 slope = all(1.5957691216f) + all(0.2140644489f) * v * v;
      store(dx + c, load(g + c) * (s + v * s * (all(1.f) - s) * slope));
    }
}

// y = x + gate * z; gate is one row a batch, `stride` apart
void gated(const float* x, const float* gate, int64_t stride, const float* z, float* y, int batches, int tokens, int width) {
  for (int b = 0; b < batches; b++, gate += stride)
    for (int t = 0; t < tokens; t++, x += width, z += width, y += width)
      for (int c = 0; c < width; c += LANES) store(y + c, load(x + c) + load(gate + c) * load(z + c));
}

// g: gradient of y -> dz, and dgate (batch, width), which is added to
void gated_back(const float* g, const float* gate, int64_t stride, const float* z, float* dz, float* dgate, int batches, int tokens, int width) {
  for (int b = 0; b < batches; b++, gate += stride, dgate += width)
    for (int t = 0; t < tokens; t++, g += width, z += width, dz += width)
      for (int c = 0; c < width; c += LANES) {
        store(dz + c, load(g + c) * load(gate + c));
        store(dgate + c, load(dgate + c) + load(g + c) * load(z + c));
      }
}

}  // extern "C"
