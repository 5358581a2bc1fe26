// Random numbers and batch sampling: Philox4x32-10 on kLanes blocks at once, giving exactly the integers of philox.h.
// Dropout and uniform numbers have the bits of ref; normal numbers are computed in float, within a few ulp of it.
#include "../../philox.h"
#include "../simd.h"
#include "kernels.h"

namespace gradline::cpu::GL_ISA {
namespace {

typedef uint64_t WideVec __attribute__((vector_size(kLanes * 4)));  // kLanes / 2 numbers

GL_SIMD UVec set1u(uint32_t x) { return x - UVec{}; }

// Products of the even lanes of a with b, 64 bits each; the odd lanes are ignored.
GL_SIMD WideVec mulEven(WideVec a, uint32_t b) {
#if defined(__AVX512F__)
  return (WideVec)_mm512_maskz_mul_epu32(0xff, (__m512i)a, (__m512i)set1u(b));
#elif defined(__AVX2__)
  return (WideVec)_mm256_mul_epu32((__m256i)a, (__m256i)set1u(b));
#elif defined(__SSE2__)
  return (WideVec)_mm_mul_epu32((__m128i)a, (__m128i)set1u(b));
#else
  return (a & 0xffffffff) * uint64_t{b};
#endif
}

// Words in the lower halves of 64-bit lanes, where products put them; upper halves hold anything.
struct WideBlocks {
  WideVec v[4];
};
struct Blocks {
  UVec v[4];
};

GL_SIMD WideVec evenOf(UVec x) { return (WideVec)x; }
GL_SIMD WideVec oddOf(UVec x) { return (WideVec)x >> 32; }
GL_SIMD UVec join(WideVec even, WideVec odd) { return (UVec)((even & 0xffffffff) | (odd << 32)); }

// philox4x32 of philox.h on one counter per lane.
GL_SIMD WideBlocks philox(WideVec c0, WideVec c1, WideVec c2, WideVec c3, uint64_t seed) {
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; round++) {
    const WideVec p0 = mulEven(c0, 0xD2511F53), p2 = mulEven(c2, 0xCD9E8D57);
    c0 = (p2 >> 32) ^ (c1 ^ k0);
    c2 = (p0 >> 32) ^ (c3 ^ k1);
    c1 = p2;
    c3 = p0;
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return {{c0, c1, c2, c3}};
}

// randomBlock of philox.h for blocks that share the upper 32 bits.
GL_SIMD Blocks randomBlocks(const StepState &step, uint32_t stream, Purpose purpose, UVec block, uint64_t upper) {
  const uint32_t last = static_cast<uint32_t>(purpose) << 24 | static_cast<uint32_t>(upper & 0xff) << 16 |
                        static_cast<uint32_t>((step.step >> 32) & 0xffff);
  const WideVec c1 = evenOf(set1u(stream)), c2 = evenOf(set1u(static_cast<uint32_t>(step.step)));
  const WideBlocks even = philox(evenOf(block), c1, c2, evenOf(set1u(last)), step.seed);
  const WideBlocks odd = philox(oddOf(block), c1, c2, evenOf(set1u(last)), step.seed);
  Blocks bits;
  for (int k = 0; k < 4; k++) bits.v[k] = join(even.v[k], odd.v[k]);
  return bits;
}

// Elements [begin, end) of a tensor, begin a multiple of 4 * kLanes: transform(blocks, out) makes four vectors of
// kLanes blocks, still one per word of a block; consume(i, count, vector) gets them in the order of elements.
template <class Transform, class Consume>
GL_SIMD void eachRandom(const StepState &step, uint32_t stream, Purpose purpose, int64_t begin, int64_t end,
                        Transform transform, Consume consume) {
  for (int64_t i = begin; i < end; i += 4 * kLanes) {
    const uint64_t block = static_cast<uint64_t>(i) / 4;
    const UVec lanes = set1u(static_cast<uint32_t>(block)) + (UVec)laneIndex();
    const Blocks bits = randomBlocks(step, stream, purpose, lanes, block >> 32);
    Vec w[4];
    transform(bits, w);
    constexpr int kHalf = kLanes / 2;
    const Vec even[2] = {interleave<0>(w[0], w[2]), interleave<kHalf>(w[0], w[2])};
    const Vec odd[2] = {interleave<0>(w[1], w[3]), interleave<kHalf>(w[1], w[3])};
    for (int k = 0; k < 4; k++) {
      const int64_t at = i + k * kLanes;
      if (at >= end) break;
      const Vec a = even[k / 2], b = odd[k / 2];
      consume(at, smaller(kLanes, end - at), k & 1 ? interleave<kHalf>(a, b) : interleave<0>(a, b));
    }
  }
}

GL_SIMD Vec uniform(UVec bits) { return toFloat((IVec)(bits >> 8)) * 0x1p-24f; }

void runDropout(const Op &op, int64_t begin, int64_t end, void *) {
  const double rate = op.attr[attr::dropout::rate];
  const uint32_t stream = static_cast<uint32_t>(op.attr[attr::dropout::stream]);
  const int32_t threshold = static_cast<int32_t>(dropThreshold(rate));
  const float factor = static_cast<float>(1 / (1 - rate));
  const float *x = op.in[0].as<float>();
  float *y = op.out[0].as<float>();
  eachRandom(
      *op.in[1].as<StepState>(), stream, Purpose::dropout, begin * kChunk, smaller(end * kChunk, op.out[0].size),
      [](const Blocks &bits, Vec(&out)[4]) GL_LAMBDA {
        for (int k = 0; k < 4; k++) out[k] = (Vec)(bits.v[k] >> 8);
      },
      [&](int64_t i, int64_t count, Vec bits) GL_LAMBDA {
        store(y + i, select(bitsOf(bits) >= threshold, load(x + i, count) * factor, set1(0.0f)), count);
      });
}

void runUniform(const Op &op, int64_t begin, int64_t end, void *) {
  namespace a = attr::randomUniform;
  const float low = static_cast<float>(op.attr[a::low]), high = static_cast<float>(op.attr[a::high]);
  const uint32_t stream = static_cast<uint32_t>(op.attr[a::stream]);
  const Vec last = set1(__builtin_nextafterf(high, low));
  float *y = op.out[0].as<float>();
  eachRandom(
      *op.in[0].as<StepState>(), stream, Purpose::uniform, begin * kChunk, smaller(end * kChunk, op.out[0].size),
      [&](const Blocks &bits, Vec(&out)[4]) GL_LAMBDA {
        for (int k = 0; k < 4; k++) out[k] = minOf(isolate((high - low) * uniform(bits.v[k])) + low, last);
      },
      [&](int64_t i, int64_t count, Vec value) GL_LAMBDA { store(y + i, value, count); });
}

// cos and sin of `turn` full turns, 0 <= turn < 1, 2 ulp. The quarter is split off exactly; polynomials are minimax
// fits on an eighth of a turn either side of 0.
GL_SIMD void cosSin(Vec turn, Vec &cosine, Vec &sine) {
  const Vec quarters = turn * 4.0f, shifted = quarters + 12582912.0f, f = quarters - (shifted - 12582912.0f);
  const IVec n = bitsOf(shifted);
  const Vec z = f * f;
  Vec s = -4.68387362e-3f * z + 7.971178e-2f;
  s = s * z - 0.645966589f;
  s = (s * z + 1.57079637f) * f;
  Vec c = 8.94486264e-4f * z - 2.08555963e-2f;
  c = c * z + 0.253668547f;
  c = c * z - 1.23370051f;
  c = c * z + 1.0f;
  const IVec swapped = (n & 1) != 0;
  cosine = ofBits(bitsOf(select(swapped, s, c)) ^ (((n + 1) & 2) << 30));
  sine = ofBits(bitsOf(select(swapped, c, s)) ^ ((n & 2) << 30));
}

// Box, Muller 1958, two pairs per block.
void runNormal(const Op &op, int64_t begin, int64_t end, void *) {
  namespace a = attr::randomNormal;
  const float mean = static_cast<float>(op.attr[a::mean]), deviation = static_cast<float>(op.attr[a::std]);
  const uint32_t stream = static_cast<uint32_t>(op.attr[a::stream]);
  float *y = op.out[0].as<float>();
  eachRandom(
      *op.in[0].as<StepState>(), stream, Purpose::normal, begin * kChunk, smaller(end * kChunk, op.out[0].size),
      [&](const Blocks &bits, Vec(&out)[4]) GL_LAMBDA {
        for (int k = 0; k < 4; k += 2) {
          const Vec radius = sqrt(-2.0f * log(1.0f - uniform(bits.v[k])));
          cosSin(uniform(bits.v[k + 1]), out[k], out[k + 1]);
          for (int j = 0; j < 2; j++) out[k + j] = deviation * (radius * out[k + j]) + mean;
        }
      },
      [&](int64_t i, int64_t count, Vec value) GL_LAMBDA { store(y + i, value, count); });
}

// The Feistel network of permuteIndex in philox.h, for all rows of an epoch of n < 2^31 samples, so that both halves of
// an index fit a lane.
struct Shuffle {
  uint32_t n;
  int half;  // bits
  uint64_t seed, epoch;
};

GL_SIMD int halfOf(uint64_t n) {
  int half = 1;
  while ((uint64_t{1} << (2 * half)) < n) half++;
  return half;
}

// One pass over `count` vectors of indices. A pass is a chain of 60 multiplications; several vectors fill its gaps.
template <int count>
GL_SIMD void shuffleOnce(const Shuffle &s, int32_t *index) {
  const uint64_t mask = (uint64_t{1} << s.half) - 1;
  const WideVec epoch = evenOf(set1u(static_cast<uint32_t>(s.epoch)));
  const WideVec last =
      evenOf(set1u(static_cast<uint32_t>(Purpose::shuffle) << 24 | static_cast<uint32_t>((s.epoch >> 32) & 0xffff)));
  WideVec left[2 * count], right[2 * count];
  for (int v = 0; v < count; v++) {
    const UVec whole = (UVec)load(index + v * kLanes), upper = whole >> s.half;
    left[2 * v] = evenOf(upper);
    left[2 * v + 1] = oddOf(upper);
    right[2 * v] = evenOf(whole) & mask;
    right[2 * v + 1] = oddOf(whole) & mask;
  }
  for (uint32_t round = 0; round < 6; round++)
    for (int v = 0; v < 2 * count; v++) {
      const WideVec next = (left[v] ^ philox(right[v], evenOf(set1u(round)), epoch, last, s.seed).v[0]) & mask;
      left[v] = right[v];
      right[v] = next;
    }
  for (int v = 0; v < count; v++) {
    const UVec upper = join(left[2 * v], left[2 * v + 1]), lower = join(right[2 * v], right[2 * v + 1]);
    store(index + v * kLanes, (IVec)(upper << s.half | lower));
  }
}

constexpr int64_t kSampleRows = 64;  // of a unit
constexpr int kPassVectors = 2;

// rows [count] -> their images, count <= kSampleRows. Where an image lies outside, another pass is due; those rows
// close up, so that few vectors walk on to the end.
GL_SIMD void permute(const Shuffle &s, int32_t *rows, int64_t count) {
  int32_t index[kSampleRows + kPassVectors * kLanes] = {};
  int32_t place[kSampleRows];
  for (int64_t i = 0; i < count; i++) {
    index[i] = rows[i];
    place[i] = static_cast<int32_t>(i);
  }
  while (count > 0) {
    for (int64_t i = 0; i < count;) {
      const bool several = count - i > kLanes;
      if (several)
        shuffleOnce<kPassVectors>(s, index + i);
      else
        shuffleOnce<1>(s, index + i);
      i += several ? kPassVectors * kLanes : kLanes;
    }
    int64_t outside = 0;
    for (int64_t i = 0; i < count; i++) {
      const int32_t image = index[i];
      rows[place[i]] = image;
      index[outside] = image;
      place[outside] = place[i];
      outside += static_cast<uint32_t>(image) >= s.n;
    }
    count = outside;
  }
}

void runSampleRows(const Op &op, int64_t begin, int64_t end, void *) {
  namespace a = attr::sampleRows;
  const uint64_t samples = static_cast<uint64_t>(op.attr[a::samples]);
  const int64_t shuffle = op.iattr(a::shuffle);
  const StepState &step = *op.in[0].as<StepState>();
  for (int64_t unit = begin; unit < end; unit++) {
    const uint64_t first = static_cast<uint64_t>(unit * kSampleRows);
    int32_t *rows = op.out[0].as<int32_t>() + first;
    const int64_t count = smaller(kSampleRows, op.out[0].size - unit * kSampleRows);
    uint64_t position = (step.first + first) % samples;
    for (int64_t i = 0; i < count; i++) {
      uint64_t row = position;
      if (++position == samples) position = 0;
      if (shuffle == 2) {
        const uint64_t element = first + static_cast<uint64_t>(i);
        const Philox4 bits = randomBlock(step.seed, step.step, 0, Purpose::choice, element / 4);
        row = (bits.v[element % 4] * samples) >> 32;
      }
      rows[i] = static_cast<int32_t>(row);
    }
    if (shuffle == 1) permute({static_cast<uint32_t>(samples), halfOf(samples), step.seed, step.epoch}, rows, count);
  }
}

bool planRandom(const Op &op, KernelPlan &plan, RunFn run, double nanosecondsPerElement) {
  if (op.fp64 || !isF32(op.out[0])) return false;
  const double n = static_cast<double>(op.out[0].size);
  onePhase(plan, "philox", run, ceilDiv(op.out[0].size, kChunk),
           streamTime(8 * n) + nanosecondsPerElement * n * 16 / kLanes);
  byRows(plan, op.out[0].size, kChunk, (op.code == OpCode::dropout ? inputBit(0) : 0) | outputBit(0));
  return true;
}

// Nanoseconds a row, as measured. A pass maps the 4^half indices that the halves can hold onto themselves, so a row
// needs 4^half / samples passes on average, from 1 to 4, until it falls below samples.
double timeOfRow(int64_t samples, int64_t shuffle) {
  if (shuffle == 0) return 0.7;
  if (shuffle == 2) return 9;  // a block of its own, one by one
  const double indices = static_cast<double>(uint64_t{1} << (2 * halfOf(static_cast<uint64_t>(samples))));
  return (4 + 80.0 / kLanes) * indices / static_cast<double>(samples);
}

}  // namespace

bool planDropout(const Op &op, KernelPlan &plan) { return planRandom(op, plan, runDropout, 0.5); }
bool planRandomUniform(const Op &op, KernelPlan &plan) { return planRandom(op, plan, runUniform, 0.5); }
bool planRandomNormal(const Op &op, KernelPlan &plan) { return planRandom(op, plan, runNormal, 1.0); }

bool planSampleRows(const Op &op, KernelPlan &plan) {
  namespace a = attr::sampleRows;
  const int64_t samples = op.iattr(a::samples), rows = op.out[0].size;
  if (op.out[0].dtype != DType::i32 || samples < 1 || samples > INT32_MAX) return false;
  onePhase(plan, "philox", runSampleRows, ceilDiv(rows, kSampleRows),
           50 + timeOfRow(samples, op.iattr(a::shuffle)) * static_cast<double>(rows));
  byRows(plan, rows, kSampleRows, outputBit(0));
  return true;
}

}  // namespace gradline::cpu::GL_ISA
