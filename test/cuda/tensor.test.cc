// Tensor cores: where the lanes of a warp hold what, how operands are rounded, copies that land later, and the tile
// built on them at every transposition, width and ragged size. The layout is written down here a second time, in the
// words of the PTX ISA, since an emulator and a kernel that misread it alike would agree.
#include <cmath>
#include <cstring>

#include "../../native/cuda/emulator/fibers.h"
#include "../../native/cuda/kernels/matmul.cuh"
#include "../../native/cuda/kernels/product.cuh"
#include "tests.h"

namespace gradline::cuda::test {
namespace {

// ---- Fragments

// "Matrix Fragments for mma.m16n8k8" (.tf32) and "... for mma.m16n8k16 with floating point type" (.bf16), PTX ISA 9.2,
// sections 9.7.14.5.7 and 9.7.14.5.8: row and column of element i in the fragment of a lane. The elements of a register
// of two stand in it from low to high.
struct Element {
  int row, column;
};
struct Layout {
  int k, perRegister;
  Element (*a)(int groupID, int threadID_in_group, int i);
  Element (*b)(int groupID, int threadID_in_group, int i);
};
constexpr Layout kTf32 = {8, 1,
                          [](int groupID, int threadID_in_group, int i) -> Element {
                            return {i == 0 || i == 2 ? groupID : groupID + 8,
                                    i == 0 || i == 1 ? threadID_in_group : threadID_in_group + 4};
                          },
                          [](int groupID, int threadID_in_group, int i) -> Element {
                            return {i == 0 ? threadID_in_group : threadID_in_group + 4, groupID};
                          }};
constexpr Layout kBf16 = {16, 2,
                          [](int groupID, int threadID_in_group, int i) -> Element {
                            return {(0 <= i && i < 2) || (4 <= i && i < 6) ? groupID : groupID + 8,
                                    i < 4 ? threadID_in_group * 2 + (i & 1) : threadID_in_group * 2 + (i & 1) + 8};
                          },
                          [](int groupID, int threadID_in_group, int i) -> Element {
                            return {i < 2 ? threadID_in_group * 2 + (i & 1) : threadID_in_group * 2 + (i & 1) + 8,
                                    groupID};
                          }};
Element ofSum(int groupID, int threadID_in_group, int i) {
  return {i < 2 ? groupID : groupID + 8, threadID_in_group * 2 + (i & 1)};
}

template <class Numbers>
struct OneProduct {
  static constexpr int kThreads = 32;
  Global<const uint32_t> a, b;  // [lane, register]
  Global<float> c;              // [lane, 4]
  GPU_DEVICE void run() const {
    uint32_t left[4], right[2];
    float sum[4];
    for (int i = 0; i < 4; i++) left[i] = a[lane() * 4 + i];
    for (int i = 0; i < 2; i++) right[i] = b[lane() * 2 + i];
    for (int i = 0; i < 4; i++) sum[i] = c[lane() * 4 + i];
    Numbers::multiply(sum, left, right);
    for (int i = 0; i < 4; i++) c[lane() * 4 + i] = sum[i];
  }
};

uint32_t wordOf(float x) {
  uint32_t word;
  std::memcpy(&word, &x, sizeof word);
  return word;
}

template <class T>
T *onCard(const std::vector<T> &values, const char *name) {
  T *memory = static_cast<T *>(emulator::allocate(values.size() * sizeof(T), name));
  std::memcpy(memory, values.data(), values.size() * sizeof(T));
  return memory;
}

template <class Numbers>
void fragments(const char *name, const Layout &layout) {
  const auto left = [](int row, int k) { return static_cast<float>((row * 7 + k * 5) % 23 - 11); };
  const auto right = [](int k, int column) { return static_cast<float>((k * 11 + column * 3) % 19 - 9); };
  const auto before = [](int row, int column) { return static_cast<float>(row * 8 + column); };
  std::vector<uint32_t> a(32 * 4), b(32 * 2);
  std::vector<float> c(32 * 4);
  for (int lane = 0; lane < 32; lane++) {
    const int groupID = lane >> 2, threadID_in_group = lane % 4, wide = layout.perRegister;
    const auto place = [&](std::vector<uint32_t> &words, int at, int i, float value) {
      const uint32_t word = wordOf(value);
      words[static_cast<size_t>(at + i / wide)] |= wide == 1 ? word : word >> 16 << (i % 2 * 16);
    };
    for (int i = 0; i < 4 * wide; i++) {
      const Element e = layout.a(groupID, threadID_in_group, i);
      place(a, lane * 4, i, left(e.row, e.column));
    }
    for (int i = 0; i < 2 * wide; i++) {
      const Element e = layout.b(groupID, threadID_in_group, i);
      place(b, lane * 2, i, right(e.row, e.column));
    }
    for (int i = 0; i < 4; i++) {
      const Element e = ofSum(groupID, threadID_in_group, i);
      c[static_cast<size_t>(lane * 4 + i)] = before(e.row, e.column);
    }
  }
  uint32_t *const onA = onCard(a, "a"), *const onB = onCard(b, "b");
  float *const onC = onCard(c, "c");
  Launches launches;
  launch(
      launches,
      OneProduct<Numbers>{global<const uint32_t>(onA, 512), global<const uint32_t>(onB, 256), global<float>(onC, 512)},
      {1});
  emulator::run(launches.list[0]);
  for (int lane = 0; lane < 32; lane++) {
    for (int i = 0; i < 4; i++) {
      const Element e = ofSum(lane >> 2, lane % 4, i);
      float wanted = before(e.row, e.column);
      for (int k = 0; k < layout.k; k++) wanted += left(e.row, k) * right(k, e.column);
      const float got = onC[lane * 4 + i];
      if (got != wanted)
        failed(name, "lane " + std::to_string(lane) + " c" + std::to_string(i) + " is " + std::to_string(got) +
                         ", expected " + std::to_string(wanted));
    }
  }
  for (const std::string &finding : emulator::findings()) failed(name, finding);
  emulator::findings().clear();
  for (void *memory : {static_cast<void *>(onA), static_cast<void *>(onB), static_cast<void *>(onC)})
    emulator::release(memory);
}

// ---- Rounding

void rounding() {
  const float tie = 1 + 0x1p-11f, below = std::nextafter(tie, 0.0f), most = 3.4028234663852886e38f;
  const struct {
    float x;
    uint32_t tf32, bf16;
  } list[] = {
      {0, 0, 0},
      {1, 0x3f800000, 0x3f80},
      {tie, 0x3f802000, 0x3f80},  // half of the last bit of tf32: away from zero
      {-tie, 0xbf802000, 0xbf80},
      {below, 0x3f800000, 0x3f80},
      {1 + 0x1p-8f, 0x3f808000, 0x3f80},      // half of the last bit of bf16: to the even one below
      {1 + 3 * 0x1p-8f, 0x3f818000, 0x3f82},  // and above
      {1 + 0x1p-8f + 0x1p-23f, 0x3f808000, 0x3f81},
      {-(1 + 3 * 0x1p-8f), 0xbf818000, 0xbf82},
      {most, 0x7f800000, 0x7f80},  // nearer to 2^128 than to the largest number: an infinity
      {INFINITY, 0x7f800000, 0x7f80},
      {-INFINITY, 0xff800000, 0xff80},
      {0x1p-126f, 0x00800000, 0x0080},
      {0x1p-130f, 0x00080000, 0x0008},  // below the smallest normal number
  };
  for (const auto &item : list) {
    const uint32_t tf32 = roundedToTf32(item.x), low = roundedToBf16(item.x, 2), high = roundedToBf16(2, item.x);
    if (tf32 != item.tf32) failed("tf32 of " + std::to_string(item.x), std::to_string(tf32));
    if (low != (0x40000000u | item.bf16) || high != (item.bf16 << 16 | 0x4000u))
      failed("bf16 of " + std::to_string(item.x), std::to_string(low) + ", " + std::to_string(high));
  }
  float back;
  const uint32_t tf32 = roundedToTf32(NAN), bf16 = roundedToBf16(NAN, NAN);
  std::memcpy(&back, &tf32, sizeof back);
  if (!std::isnan(back) || (bf16 & 0x7f80) != 0x7f80 || (bf16 & 0x7f) == 0) failed("rounding", "loses NaN");
}

// ---- Copies

enum class Copying { soundly, quads, zeros, unwaited, uncommitted, unsynced, tooEarly, tooFar, unaligned };
// Reverses 64 numbers through shared memory, twice.
template <Copying how>
struct CopyReverse {
  static constexpr int kThreads = 64;
  Global<const float> x;
  Global<float> y;
  GPU_DEVICE void run() const {
    GPU_SHARED(float, tile, kThreads);
    for (int round = 0; round < 2; round++) {
      if (how == Copying::quads || how == Copying::unaligned) {
        if (thread() < 16)
          copyLater4(tile, thread() * 4, x,
                     how == Copying::unaligned && thread() < 15 ? thread() * 4 + 1 : thread() * 4);
      } else {
        copyLater(tile, thread(), x, how == Copying::zeros ? -1 : how == Copying::tooFar ? thread() + round : thread());
      }
      if (how != Copying::uncommitted) commitCopies();
      if (how != Copying::unwaited) waitCopies<0>();
      if (how != Copying::unsynced) barrier();
      y[thread()] = tile[kThreads - 1 - thread()];
      if (how != Copying::tooEarly) barrier();
    }
    commitCopies();
    waitCopies<0>();
  }
};

template <Copying how>
void copies(const char *name, const std::string &wanted) {
  std::vector<float> values(64);
  for (size_t i = 0; i < 64; i++) values[i] = static_cast<float>(i + 1);
  float *const x = onCard(values, "x"), *const y = onCard(values, "y");
  for (const emulator::Order order : {emulator::Order::forward, emulator::Order::reverse, emulator::Order::random}) {
    emulator::setOrder(order, 3);
    emulator::findings().clear();
    Launches launches;
    launch(launches, CopyReverse<how>{global<const float>(x, 256), global<float>(y, 256)}, {1});
    emulator::run(launches.list[0]);
    std::string all;
    for (const std::string &finding : emulator::findings()) all += finding + "\n";
    emulator::findings().clear();
    if (wanted.empty() ? !all.empty() : all.find(wanted) == std::string::npos)
      failed(name, "expected '" + wanted + "' but the detector found: " + all);
    for (int i = 0; i < 64 && wanted.empty(); i++) {
      const float expected = how == Copying::zeros ? 0.0f : static_cast<float>(64 - i);
      if (y[i] != expected) failed(name, std::to_string(i) + " is " + std::to_string(y[i]));
    }
  }
  emulator::release(x);
  emulator::release(y);
}

void laterCopies() {
  copies<Copying::soundly>("copies", "");
  copies<Copying::quads>("copies of four", "");
  copies<Copying::zeros>("copies of zeros", "");
  copies<Copying::unwaited>("copies without a wait", "undefined memory");
  copies<Copying::uncommitted>("copies in no group", "undefined memory");
  copies<Copying::unsynced>("copies without a barrier", "undefined memory");
  copies<Copying::tooEarly>("copies to where others still read", "race");
  copies<Copying::tooFar>("copies from beyond the end", "read out of bounds");
  copies<Copying::unaligned>("copies of four off alignment", "copy off alignment");
}

// ---- The tile

template <bool transposeA, bool transposeB, class Numbers, int side, int width>
bool planTileOf(const Op &op, Launches &launches) {
  planTile<MmaTile<Matmul<transposeA, transposeB>, Numbers, side, side, width>>(op, launches,
                                                                                matmulOf<transposeA, transposeB>(op));
  return true;
}
template <class Numbers, int side, int width>
PlanFn planOf(bool transposeA, bool transposeB) {
  if (transposeA)
    return transposeB ? &planTileOf<true, true, Numbers, side, width> : &planTileOf<true, false, Numbers, side, width>;
  return transposeB ? &planTileOf<false, true, Numbers, side, width> : &planTileOf<false, false, Numbers, side, width>;
}

struct Shaped {
  int64_t m, n, k;
};

template <class Numbers, int side, int width>
void tile(Numerics numerics, const std::vector<Shaped> &sizes) {
  const double denormal = numerics == Numerics::tf32 ? 0x1p-137 : 0x1p-134;  // half of the last bit of the smallest
  for (int ta = 0; ta < 2; ta++)
    for (int tb = 0; tb < 2; tb++)
      for (const auto &s : sizes) {
        const auto with = [&](const char *what, const Values &a, const Values &b) {
          Case c(std::string("tile of ") + std::to_string(side) + " by " + std::to_string(width) + " of " + what + " " +
                     std::to_string(s.m) + "x" + std::to_string(s.n) + "x" + std::to_string(s.k) + (ta ? " a^T" : "") +
                     (tb ? " b^T" : "") + (numerics == Numerics::tf32 ? " tf32" : " bf16"),
                 OpCode::matmul);
          c.attr(attr::matmul::transposeA, ta).attr(attr::matmul::transposeB, tb);
          c.in(ta ? Shape{s.k, s.m} : Shape{s.m, s.k}, a).in(tb ? Shape{s.n, s.k} : Shape{s.k, s.n}, b).out({s.m, s.n});
          return c.plannedBy(planOf<Numbers, side, width>(ta, tb));
        };
        const Values a = integers(-8, 8, 1), b = integers(-8, 8, 2);
        const Tolerance rounded = ofProducts(numerics, s.k);
        with("integers", a, b).out({s.n}).check(kExact);
        with("normal numbers", normal(1), normal(2)).check(rounded);
        if (ta != tb) continue;
        with("integers with epilogues", a, b)
            .epilogue(OpCode::add, {s.n}, integers(-9, 9, 3))
            .epilogue(OpCode::relu)
            .check(kExact);
        with("integers with a mask", a, b).epilogue(OpCode::reluGrad, {s.m, s.n}, normal(4)).check(kExact);
        with("numbers with sums", wild(1), wild(3)).out({s.n}).check(rounded);
        const auto shifted = [](const Values &of) { return [=](uint64_t i) { return 1000 + of(i); }; };
        with("numbers of a large mean", shifted(normal(1)), shifted(normal(2))).check(rounded);
        const auto holes = [](uint64_t every, double hole, const Values &of) {
          return [=](uint64_t i) { return i % every == 5 ? hole : of(i); };
        };
        with("infinities", holes(97, INFINITY, a), b).check(rounded);
        with("NaN", a, holes(89, NAN, b)).check(rounded);
        Tolerance small = rounded;
        small.absolute = denormal * 8 * static_cast<double>(s.k + 1);
        with("denormals", between(-1e-39, 1e-39, 1), b).check(small);
      }
}

template <class Numbers>
void tiles(Numerics numerics) {
  tile<Numbers, 64, 1>(numerics, {{1, 1, 1}, {17, 10, 33}, {65, 67, 150}, {5, 7, 0}});
  tile<Numbers, 64, 4>(numerics, {{4, 4, 4}, {68, 36, 48}, {20, 72, 140}});
  tile<Numbers, 128, 4>(numerics, {{132, 140, 20}, {12, 8, 300}});
}

// ---- Who is asked

void planners() {
  const struct {
    int64_t m, n, k;
    Numerics numerics;
    uint64_t offset;
    const char *kernel;
  } list[] = {
      {256, 256, 256, Numerics::tf32, 0, "ProductTile"},  // small: exact, so that it can be merged
      {256, 256, 260, Numerics::fp32, 0, "ProductTile"},
      {256, 256, 260, Numerics::fast, 0, "ProductTile"},
      {256, 256, 260, Numerics::tf32, 0, "Tf32, 64, 64, 4"},
      {256, 256, 260, Numerics::bf16, 0, "Bf16, 64, 64, 4"},
      {256, 256, 260, Numerics::bf16, 4, "Bf16, 64, 64, 1"},  // off the 16 bytes
      {256, 256, 261, Numerics::tf32, 0, "Tf32, 64, 64, 1"},
      {256, 258, 260, Numerics::tf32, 0, "Tf32, 64, 64, 1"},
      {2048, 2048, 64, Numerics::tf32, 0, "Tf32, 128, 128, 4"},
      {32768, 64, 64, Numerics::tf32, 0, "Tf32, 64, 64, 4"},  // of a wider tile the half would be empty
      {2048, 1024, 4, Numerics::bf16, 0, "Bf16, 64, 64, 4"},  // little work, but in tiles that are not merged
      {2048, 1024, 4, Numerics::fp32, 0, "128, 64, 8, 4"},
  };
  for (const auto &item : list) {
    Op op = {};
    op.code = OpCode::matmul;
    op.numerics = item.numerics;
    op.inputs = 2;
    op.outputs = 1;
    op.in[0] = matrix(item.m, item.k);
    op.in[1] = matrix(item.k, item.n);
    op.in[1].offset = item.offset;
    op.out[0] = matrix(item.m, item.n);
    Launches launches;
    plannerOf(op.code)(op, launches);
    const std::string kernel = launches.list[0].name();
    if (kernel.find(item.kernel) == std::string::npos)
      failed("a product " + std::to_string(item.m) + "x" + std::to_string(item.n) + "x" + std::to_string(item.k),
             "is made by " + kernel + ", expected " + item.kernel);
  }
}

}  // namespace

void testTensor() {
  fragments<Tf32>("a fragment of tf32", kTf32);
  fragments<Bf16>("a fragment of bf16", kBf16);
  rounding();
  laterCopies();
  tiles<Tf32>(Numerics::tf32);
  tiles<Bf16>(Numerics::bf16);
  planners();
}

}  // namespace gradline::cuda::test
