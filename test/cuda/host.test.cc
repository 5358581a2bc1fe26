// The host code of the backend on the emulated card, through the table that the core calls: runs of many steps in every
// graph mode, faults, profiles, what is missing on a machine, and each call of the runtime failing once. Products by a
// library are cublas.test.cc.
#include <cstring>

#include "../../native/cuda/emulator/fibers.h"
#include "../../native/cuda/emulator/runtime.h"
#include "session.h"
#include "tests.h"

namespace gradline::cuda::test {
namespace {

using emulator::trouble;

void testModes() {
  const char *name = "graph modes";
  const Outcome graph = play({GraphMode::on, 150});
  Setup wide = {GraphMode::on, 150};
  wide.wide = true;
  for (const int multiprocessors : {1, 2, 3, 4}) {
    trouble().multiprocessors = multiprocessors;
    expect(name, play(wide) == graph, "other bits on " + std::to_string(multiprocessors) + " multiprocessors");
  }
  trouble() = {};
  expect(name, graph.error.empty() && graph.completed == 150, "a run of 150 steps ends with: " + graph.error);
  expect(name, graph.losses.front() > 2 * graph.losses.back(), "the loss does not fall");
  for (const GraphMode mode : {GraphMode::off, GraphMode::check, GraphMode::on, GraphMode::unmerged})
    expect(name, play({mode, 150}) == graph, "other bits in mode " + std::to_string(static_cast<int>(mode)));
  for (const emulator::Order order : {emulator::Order::reverse, emulator::Order::random, emulator::Order::forward}) {
    emulator::setOrder(order, 5);
    expect(name, play({GraphMode::on, 150}) == graph, "other bits when threads run in another order");
  }
  expectText(name, graph.plans[3], "ShortRows<AddUp> 1x256 (node 1/1)");
  const Outcome profiled = play({GraphMode::on, 3, 0, ~uint64_t{0}, true});
  for (const double seconds : profiled.seconds) expect(name, seconds >= 0, "an op has no time");
  Setup stopping = {GraphMode::on, 1000};
  stopping.stopAfter = 3;
  const Outcome stopped = play(stopping);
  expect(name, stopped.completed > 0 && stopped.completed < 1000,
         "a stop is not heard: " + std::to_string(stopped.completed) + " steps " + stopped.error);
  expectNothingLeft(name);
}

void testFaults() {
  const char *name = "a fault in a run";
  for (const GraphMode mode : {GraphMode::on, GraphMode::off, GraphMode::check, GraphMode::unmerged}) {
    {
      Session session({mode});
      session.load();
      session.run(40);
      const std::vector<float> before = session.look().weights;
      session.setLabel(77);
      session.run(40);
      const Outcome &bad = session.look();
      expect(name, bad.completed == 40 && bad.weights == before, "steps behind it change something");
      expect(name,
             bad.status.fault == int32_t(Fault::labelOutOfRange) && bad.status.op == 2 && bad.status.row == 0 &&
                 bad.status.got == 77 && bad.status.limit == kClasses,
             "is reported as " + std::to_string(bad.status.got) + " of op " + std::to_string(bad.status.op));
      session.setLabel(0);
      session.run(3);
      expect(name, session.look().completed == 43 && session.look().status.fault == 0, "is not over with good data");
    }
    expectNothingLeft(name);
  }
}

void testMissing() {
  const char *name = "a machine that lacks something";
  const emulator::Trouble whole = trouble();
  const auto opening = [&](int32_t index = 0) {
    DeviceOptions options = {};
    options.index = index;
    ErrorText text = {};
    void *device = Session::backend().open(&options, &text);
    if (device) Session::backend().close(device);
    return std::string(device ? "" : text.text);
  };
  expect(name, Session::backend().count() == 1, "counts no card");
  expectText(name, opening(3), "there is no cuda:3, this machine has cuda:0");
  trouble().devices = 4;
  expectText(name, opening(7), "cuda:0 to cuda:3");
  trouble().devices = 0;
  expectText(name, opening(), "finds no card");
  expect(name, Session::backend().count() == 0, "counts a card where there is none");
  trouble() = whole;
  trouble().driver = 0;
  expectText(name, opening(), "no NVIDIA driver");
  trouble().driver = 12040;
  expectText(name, opening(), "supports CUDA 12.4, this library needs 13.0 or newer");
  trouble() = whole;
  trouble().major = 7;
  expectText(name, opening(), "compute capability 7.0, needed is 8.0");
  trouble() = whole;
  trouble().memory = 2048;
  const Outcome small = play({GraphMode::on, 1});
  expectText(name, small.error, "out of memory");
  expect(name, small.failure == 0, "is a failure of the device when only memory is short");
  trouble() = whole;
  {
    Session session({});
    trouble().memory = 1 << 20;
    uint64_t left = 0, total = 0;
    expect(name, Session::backend().room(session.device(), &left, &total) && left == total && total == 1 << 20,
           "says that " + std::to_string(left) + " of " + std::to_string(total) + " bytes are free");
    trouble() = whole;
    trouble().failAt = 2;
    expect(name, !Session::backend().room(session.device(), &left, &total), "knows its memory although it cannot ask");
    ErrorText text = {};
    (void)Session::backend().failure(session.device(), &text);
    trouble() = whole;
  }
  expectNothingLeft(name);
}

// Programs that this backend cannot run are refused with the op that stands in the way.
void testRefusals() {
  const char *name = "a program that is refused";
  {
    Session session({});
    ErrorText text = {};
    Op op = {};
    expect(name, !Session::backend().compile(session.device(), &op, 0, Numerics::fp64, &text), "is taken");
    expectText(name, text.text, "float64 programs run on ref");
    op.code = OpCode::batchNorm;
    op.index = 3;
    op.inputs = 1;
    op.in[0].rank = 2;
    op.in[0].dims[1] = 5;
    op.epilogues = 1;
    op.epilogue[0].code = OpCode::relu;
    expect(name, !Session::backend().compile(session.device(), &op, 1, Numerics::fp32, &text), "is taken");
    expectText(name, text.text, "op 3, batchNorm of [0, 5] then relu, has no CUDA kernel in this form");
    ErrorText about = {};
    Session::backend().describe(session.device(), &about);
    expectText(name, about.text, "cuda:0 emulated card, compute capability 9.0");
    Session::backend().park(session.device());
    expect(name, Session::backend().threads(session.device()) == 1 && Session::backend().peak(session.device(), 1) == 0,
           "asks a card for its threads");
  }
  expectNothingLeft(name);
}

// Each call of the runtime fails once, in a way that the card recovers from and in one that it does not. Either the
// caller is told, or nothing was lost.
void testInjection() {
  const char *name = "a call that fails";
  for (const GraphMode mode : {GraphMode::on, GraphMode::off, GraphMode::check, GraphMode::unmerged}) {
    const Setup setup = {mode, 3, 0, ~uint64_t{0}, mode == GraphMode::on, mode == GraphMode::check};
    const uint64_t before = emulator::calls();
    const Outcome clean = play(setup);
    const uint64_t calls = emulator::calls() - before;
    for (const cudaError_t with : {cudaErrorInvalidValue, cudaErrorLaunchFailure}) {
      uint64_t told = 0;
      for (uint64_t i = 1; i <= calls; i++) {
        trouble().failAt = i;
        trouble().with = with;
        const Outcome outcome = play(setup);
        trouble() = {};
        const std::string where = std::to_string(i) + " of " + std::to_string(calls);
        told += !outcome.error.empty();
        expect(name, !outcome.error.empty() || outcome == clean, "is hidden: call " + where);
        if (!outcome.error.empty() && with == cudaErrorLaunchFailure && outcome.failure != 0)
          expectText(name, outcome.error, "the card is lost");
        expectNothingLeft(name);
      }
      expect(name, told > calls / 2, "is told of " + std::to_string(told) + " of " + std::to_string(calls) + " only");
    }
  }
  // A failure that the card survives: the next run of the same program counts anew.
  {
    Session session({});
    session.load();
    session.run(5);
    trouble().failAt = 2;
    trouble().with = cudaErrorInvalidValue;
    session.run(5);
    expect(name, !session.look().error.empty(), "is hidden in a run");
  }
  trouble() = {};
  expectNothingLeft(name);
}

// The emulated runtime refuses what a card would refuse or, worse, forgive.
void testRuntime() {
  const char *name = "the emulated runtime";
  cudaStream_t stream;
  cudaGraph_t graph = nullptr;
  void *memory, *other;
  char bytes[64] = {};
  expect(name, !cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) && !cudaMalloc(&memory, 64),
         "refuses memory");
  expect(name, cudaMemcpyAsync(memory, bytes, 65, cudaMemcpyHostToDevice, stream), "copies beyond the end");
  expect(name, cudaMemcpyAsync(bytes, bytes, 8, cudaMemcpyDeviceToHost, stream), "takes host memory for its own");
  expect(name, cudaMemsetAsync(bytes, 0, 8, stream), "fills host memory");
  expect(name, !cudaMemsetAsync(memory, 3, 8, stream) && bytes[0] == 0, "fills at once");
  expect(name, !cudaMemcpyAsync(bytes, memory, 8, cudaMemcpyDeviceToHost, stream) && bytes[0] == 3, "does not copy");
  cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  expect(name, cudaMalloc(&other, 64) == cudaErrorStreamCaptureUnsupported, "allocates in a capture");
  expect(name, cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated, "keeps a spoilt capture");
  expect(name, cudaStreamEndCapture(stream, &graph), "ends a capture twice");
  cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  expect(name, cudaMemcpyAsync(memory, bytes, 8, cudaMemcpyHostToDevice, stream), "captures pageable memory");
  (void)cudaStreamEndCapture(stream, &graph);
  expect(name, !cudaMemsetAsync(memory, 0, 8, stream) && !cudaFree(memory), "frees too early");
  expect(name, cudaFree(memory), "frees twice");
  expect(name, cudaLaunchKernel(nullptr, dim3(1), dim3(33), nullptr, 0, stream), "runs blocks of no whole warps");
  cudaStreamDestroy(stream);
  expect(name, cudaStreamSynchronize(stream), "waits for a stream that is gone");
  expect(name, cudaStreamDestroy(stream), "destroys twice");
  (void)cudaGetLastError();
  expectNothingLeft(name);
}

}  // namespace

void testHost() {
  testRuntime();
  testModes();
  testFaults();
  testMissing();
  testRefusals();
  testInjection();
}

}  // namespace gradline::cuda::test
