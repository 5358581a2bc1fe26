// Products by cuBLASLt on the emulated card: the backend's host code, the binding of native/cublas and the stand-in for
// the libraries together. What is planned and what is left to our own kernels, training in every graph mode, a library
// that is of no use, measured plans, and each call failing once.
#include <dlfcn.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "../../native/cublas/gemm.h"
#include "../../native/cublas/table.h"
#include "../../native/cuda/emulator/fibers.h"
#include "../../native/cuda/emulator/runtime.h"
#include "../cublas/standin/standin.h"
#include "session.h"
#include "tests.h"

namespace gradline::cuda::test {
namespace {

using emulator::trouble;

constexpr uint32_t kBias = 4, kBgradA = 256, kPlain = 1;  // epilogues by the library's own numbers
const GlBlas &blas() { return cublas::table(); }

// Of the stand-in, which is attached to the card when it is first asked for.
standin::State &library() {
  static standin::State *state = nullptr;
  if (state) return *state;
  void *opened = dlopen(GRADLINE_STANDIN "/libcublas.so.13", RTLD_NOW);
  const auto symbol = [&](const char *name) { return opened ? dlsym(opened, name) : nullptr; };
  const auto attach = reinterpret_cast<void (*)(const EmulatedCard *)>(symbol("standin_attach"));
  const auto ask = reinterpret_cast<standin::State *(*)()>(symbol("standin_state"));
  std::string error;
  if (!attach || !ask || !cublas::load(GRADLINE_STANDIN, error)) {
    std::printf("the stand-in for cuBLAS cannot be loaded: %s\n", error.c_str());
    std::abort();
  }
  attach(gradline_emulated_card());
  return *(state = ask());
}

Setup with(GraphMode mode, uint64_t steps) {
  Setup setup = {mode, steps};
  setup.blas = &blas();
  setup.blasNeeded = true;
  return setup;
}

void expectNothingWrong(const char *name) {
  standin::State &s = library();
  const size_t alive =
      s.handles.size() + s.descs.size() + s.layouts.size() + s.preferences.size() + s.events.size() + s.work.size();
  expect(name, alive == 0, std::to_string(alive) + " objects of the library are left");
  for (const std::string &violation : s.violations) failed(name, violation);
  s.violations.clear();
  s.failAt = 0;
  expectNothingLeft(name);
}

bool isNear(const std::vector<float> &a, const std::vector<float> &b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); i++)
    if (!(std::fabs(a[i] - b[i]) <= 2e-5f)) return false;
  return true;
}

void testTraining() {
  const char *name = "training with cuBLAS";
  library().counts.clear();
  const Outcome own = play({GraphMode::on, 50}), outcome = play(with(GraphMode::on, 50));
  expect(name, outcome.error.empty() && outcome.completed == 50, "50 steps end with: " + outcome.error);
  expect(name, isNear(outcome.losses, own.losses) && isNear(outcome.weights, own.weights),
         "gives other numbers than our own kernels");
  // Captured as graphs of 1, 8 and 32 steps, each once and whatever the number of steps; on a busy machine a launch of
  // the larger ones would take too long.
  const auto asked = library().counts["cublasLtMatmul"];
  expect(name, asked == 2 || asked == 2 * (1 + 8) || asked == 2 * (1 + 8 + 32),
         std::to_string(asked) + " products were asked for");
  expect(name, library().counts["cublasLtMatmulAlgoGetHeuristic"] == 2, "plans anew for each step");
  for (const GraphMode mode : {GraphMode::off, GraphMode::check, GraphMode::on, GraphMode::unmerged})
    expect(name, play(with(mode, 50)) == outcome, "other bits in mode " + std::to_string(static_cast<int>(mode)));
  {
    Session session(with(GraphMode::on, 0));
    ErrorText about = {};
    Session::backend().describe(session.device(), &about);
    expectText(name, about.text, "products by cublas 13.1.2");
  }
  expectNothingWrong(name);
}

// The plan of an op says who makes its product; what the library has no plan for is our own kernels'.
void testPlans() {
  const char *name = "plans of products";
  const Outcome own = play({GraphMode::on, 20});
  const struct {
    uint32_t unsupported;
    const char *layer, *gradient;
  } list[] = {
      {0, "cublas gemm with bias + Unary<leakyRelu> 1x256 (node 2-3/5)", "cublas gemm with column sums (node 4/5)"},
      {kBias, "cublas gemm + Broadcasting<Combine<add, float>", "cublas gemm with column sums"},
      {kBgradA, "cublas gemm with bias + ", "cublas gemm + ColumnStretches<AddUp> 1x256"},
      {kPlain, "cublas gemm with bias + ", "cublas gemm with column sums"},
  };
  for (const auto &item : list) {
    library().options.unsupported = item.unsupported;
    const Outcome outcome = play(with(GraphMode::check, 20));
    expect(name, outcome.error.empty() && isNear(outcome.losses, own.losses), "other numbers; " + outcome.error);
    if (outcome.plans.size() < 7) continue;
    expectText(name, outcome.plans[1], item.layer);
    expectText(name, outcome.plans[6], item.gradient);
  }
  library().options = {};
  expectText(name, own.plans[1], "ProductTile<Matmul<false, false>, 32, 32, 4, 1> 1x64");
  expectNothingWrong(name);
}

// Small products are left within the launch of their neighbours, unless the library was asked for by name.
void testSmall() {
  const char *name = "small products";
  const Outcome own = play({GraphMode::on, 20});
  Setup setup = with(GraphMode::check, 20);
  setup.blasNeeded = false;
  library().counts.clear();
  const Outcome outcome = play(setup);
  expect(name, outcome == own && outcome.plans == own.plans, "are not our own kernels'; " + outcome.error);
  expect(name, library().counts["cublasLtMatmul"] == 0, "are asked of the library");
  {
    Session session(setup);
    ErrorText about = {};
    Session::backend().describe(session.device(), &about);
    expectText(name, about.text, "products by cublas 13.1.2, small ones by own kernels");
  }
  expectNothingWrong(name);
}

// What stands behind a fault runs on, but nothing that lasts comes of it.
void testFault() {
  const char *name = "a fault before products";
  for (const GraphMode mode : {GraphMode::on, GraphMode::off, GraphMode::check, GraphMode::unmerged}) {
    {
      Session session(with(mode, 0));
      session.load();
      session.run(9);
      const std::vector<float> before = session.look().weights;
      session.setLabel(77);
      session.run(40);
      expect(name, session.look().completed == 9 && session.look().weights == before,
             "steps behind it change something");
      session.setLabel(0);
      session.run(3);
      expect(name, session.look().completed == 12 && session.look().error.empty(), "is not over with good data");
    }
    {
      Setup setup = with(mode, 5);
      setup.label = 99;  // nothing was made before
      expect(name, play(setup).error.empty(), "is a failure of the device");
    }
    expectNothingWrong(name);
  }
}

// A library that is of no use is an error when it was asked for by name, else done without.
void testUseless() {
  const char *name = "a library that is of no use";
  const Outcome own = play({GraphMode::on, 10});
  const auto tried = [&](Setup setup, const char *says) {
    setup.blasNeeded = true;
    expectText(name, play(setup).error, says);
    library().failAt = 0;
    setup.blasNeeded = false;
    return setup;
  };
  GlBlas other = blas();
  Setup setup = with(GraphMode::on, 10);
  setup.blas = &other;
  other.abi++;
  expect(name, play(tried(setup, "belongs to another release")) == own, "is used although it is of another release");
  other.abi--;
  other.size -= sizeof(void *);
  expect(name, play(tried(setup, "belongs to another release")) == own, "is used although it is too small");
  other.size += sizeof(void *);
  const auto failCreation = [] { library().calls = 0, library().failAt = 1; };
  failCreation();
  setup = tried(setup, "could not open cublas: cublasCreate failed: CUBLAS_STATUS_ALLOC_FAILED");
  failCreation();
  expect(name, play(setup) == own, "is used although it cannot be opened");
  failCreation();
  {
    Session session(setup);
    ErrorText about = {};
    Session::backend().describe(session.device(), &about);
    expectText(name, about.text, "products by own kernels (could not open cublas: ");
  }
  expectNothingWrong(name);
}

std::string contentOf(const std::string &path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// With tuning, a product is measured once and known from then on, also to another process.
void testMeasuring() {
  const char *name = "measured plans";
  const std::string path = "/tmp/gradline-plans-" + std::to_string(getpid()) + ".jsonl";
  std::remove(path.c_str());
  Setup setup = with(GraphMode::on, 20);
  setup.tune = true;
  blas().cache(path.c_str());
  const Outcome first = play(setup), own = play({GraphMode::on, 20});
  expect(name, first.error.empty() && isNear(first.losses, own.losses), "other numbers; " + first.error);
  if (first.plans.size() == 9) expectText(name, first.plans[1], "cublas gemm with bias, measured + Unary<leakyRelu>");
  const std::string kept = contentOf(path);
  expectText(name, kept, "emulated card, NN 6 4 8 ");
  expectText(name, kept, "emulated card, TN 8 4 6 ");

  blas().cache(path.c_str());  // as another process reads it
  library().counts.clear();
  expect(name, play(setup) == first, "other bits from run to run");
  expect(name, library().counts["cuEventRecord"] == 0, "measures what the file knows");
  setup.tune = false;
  if (const Outcome plain = play(setup); plain.plans.size() == 9)
    expect(name, plain.plans[1].find("measured") == std::string::npos, "uses the file although nobody asked for it");

  // A damaged line is measured again; a file of something else is left alone.
  setup.tune = true;
  std::string damaged = kept;
  damaged[damaged.find("\"algorithm\":\"") + 40] ^= 1;
  std::ofstream(path) << damaged;
  expectText(name, cublas::setCacheFile(path), ": 1 of 2 lines are damaged and ignored");
  expect(name, play(setup) == first && contentOf(path) == kept, "is not mended");
  std::ofstream(path) << "{\"epochs\": 3}\n";
  expectText(name, cublas::setCacheFile(path), "is no file of measured plans; it is ignored and left alone");
  expect(name, play(setup) == first && contentOf(path) == "{\"epochs\": 3}\n", "writes over the file of somebody else");

  // Where measuring finds nothing right our own kernels make the product.
  blas().cache(nullptr);
  GlBlas picky = blas();
  picky.tune = [](void *, const GlGemm *, const GlPlanOptions *, const GlOperands *, const GlTune *, void **) {
    return int32_t{GL_BLAS_NOT_SUPPORTED};
  };
  setup.blas = &picky;
  const Outcome refused = play(setup);
  expect(name, refused == own && refused.plans == own.plans, "takes a plan that measuring has refused");
  setup.blas = &blas();
  trouble().memory = size_t{1} << 20;
  expectText(name, play(setup).error, "could not allocate memory to measure products: out of memory");
  trouble() = {};
  std::remove(path.c_str());
  expectNothingWrong(name);
}

// Each call of the library and of the runtime fails once. Either the caller is told, or nothing was lost.
void testFailing() {
  const char *name = "a call of a library that fails";
  for (const bool tune : {false, true})
    for (const GraphMode mode : {GraphMode::on, GraphMode::off, GraphMode::check, GraphMode::unmerged}) {
      if (tune && mode != GraphMode::on) continue;
      Setup setup = with(mode, 3);
      setup.tune = tune;
      const auto start = [] { blas().cache(nullptr), library().calls = 0; };
      start();
      const uint64_t before = emulator::calls();
      const Outcome clean = play(setup);
      const long calls = library().calls;
      const uint64_t cardCalls = emulator::calls() - before;
      expect(name, clean.error.empty(), "fails by itself: " + clean.error);
      long told = 0;
      for (long i = 1; i <= calls; i++) {
        start();
        library().failAt = i;
        const Outcome outcome = play(setup);
        told += !outcome.error.empty();
        expect(name, !outcome.error.empty() || outcome == clean,
               "is hidden: " + library().failed + ", call " + std::to_string(i) + " of " + std::to_string(calls));
        expect(name, outcome.failure != 2, "loses the card");
        expectNothingWrong(name);
      }
      expect(name, tune || told > calls / 2, "is told of " + std::to_string(told) + " of " + std::to_string(calls));
      for (const cudaError_t error : {cudaErrorInvalidValue, cudaErrorLaunchFailure})
        for (uint64_t i = 1; i <= cardCalls; i++) {
          start();
          trouble().failAt = i;
          trouble().with = error;
          const Outcome outcome = play(setup);
          trouble() = {};
          expect(name, !outcome.error.empty() || outcome == clean,
                 "is hidden: call " + std::to_string(i) + " of the card");
          expectNothingWrong(name);
        }
    }
}

// The stand-in notes what the real library would forgive.
void testStandIn() {
  const char *name = "the stand-in on the emulated card";
  const auto noted = [&](const char *what) {
    const auto &all = library().violations;
    const bool found = std::any_of(all.begin(), all.end(), [&](const std::string &v) { return v.find(what) == 0; });
    expect(name, found, std::string("does not note: ") + what + (all.empty() ? "" : "; but " + all[0]));
    library().violations.clear();
  };
  void *handle = nullptr, *plan = nullptr, *spare = nullptr, *memory = nullptr;
  cudaStream_t stream;
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  cudaMalloc(&memory, 3 * 256);
  char *bytes = static_cast<char *>(memory);
  const GlOperands operands = {bytes, bytes + 256, bytes + 512, nullptr, nullptr};
  GlGemm gemm = {};
  gemm.m = gemm.n = gemm.k = gemm.lda = gemm.ldb = gemm.ldc = 4;
  gemm.batch = 1;
  gemm.alpha = 1;
  const GlPlanOptions options = {};
  expect(name, !blas().open(&handle) && !blas().use(handle, stream, nullptr, 0), "cannot be opened");
  expect(name, !blas().plan(handle, &gemm, &options, &plan), "has no plan");
  GlOperands wrong = operands;
  wrong.c = bytes + 3 * 256 - 16;
  expect(name, blas().run(plan, &wrong), "writes beyond the end");
  noted("C is not in the memory of the card");
  wrong.c = bytes + 512 + 4;
  expect(name, blas().run(plan, &wrong), "takes an address that is not aligned");
  library().violations.clear();

  cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  expect(name, !blas().run(plan, &operands), "cannot be captured");
  blas().plan(handle, &gemm, &options, &spare);
  noted("cublasLtMatmulDescCreate in a capture");
  GlTune how = {};
  how.expectedC = operands.c;
  void *measured = nullptr;
  expect(name, blas().tune(handle, &gemm, &options, &operands, &how, &measured), "measures in a capture");
  library().violations.clear();
  expect(name, !cudaStreamEndCapture(stream, &graph), "spoils the capture");
  expect(name, !cudaGraphInstantiate(&executable, graph, 0), "makes no graph");
  cudaGraphLaunch(executable, stream);
  cudaStreamSynchronize(stream);
  expect(name, library().violations.empty(), "notes what is right");
  cudaFree(memory);
  cudaGraphLaunch(executable, stream);
  cudaStreamSynchronize(stream);
  noted("A is not in the memory of the card");

  cudaGraphDestroy(graph);
  cudaGraphExecDestroy(executable);
  for (void *one : {plan, spare})
    if (one) blas().release(one);
  blas().close(handle);
  cudaStreamDestroy(stream);
  (void)cudaGetLastError();
  expectNothingWrong(name);
}

}  // namespace

void testCublas() {
  library();
  testStandIn();
  testTraining();
  testPlans();
  testSmall();
  testFault();
  testUseless();
  testMeasuring();
  testFailing();
}

}  // namespace gradline::cuda::test
