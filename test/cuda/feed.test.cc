// Batches that come from the host beside the steps, on the emulated card: the same bits as batches written in front of
// each step, uploads that overlap steps, faults, waits that are missing, and each call of the runtime failing once.
#include "../../native/cuda/emulator/fibers.h"
#include "../../native/cuda/emulator/runtime.h"
#include "session.h"
#include "tests.h"

namespace gradline::cuda::test {
namespace {

using emulator::trouble;

constexpr GraphMode kModes[] = {GraphMode::on, GraphMode::off, GraphMode::check, GraphMode::unmerged};
constexpr uint64_t kBatches = 9;

Outcome fed(GraphMode mode, bool sync = false, bool late = false) {
  Session session({mode});
  if (session.load()) session.feed(kBatches, sync, late);
  return session.look();
}

void testValues() {
  const char *name = "batches beside steps";
  const Outcome written = fed(GraphMode::on, true);
  expect(name, written.error.empty() && written.completed == kBatches, "in front of steps end with: " + written.error);
  for (const GraphMode mode : kModes) {
    for (const bool eager : {false, true}) {
      trouble().eager = eager;
      const Outcome beside = fed(mode);
      expect(name, beside == written, "have other bits in mode " + std::to_string(static_cast<int>(mode)));
      expect(name, beside.completed == kBatches, "are not all done");
      // Two more are on their way before the first step is done, and from then on one is taken for one that is done.
      expect(name, beside.order.substr(0, 8) == "tttdtdtd", "do not overlap: " + beside.order);
      expect(name, fed(mode, false, true) == written, "have other bits where each comes late");
      trouble() = {};
    }
  }
  // Several calls, and runs without batches in between.
  Session session({});
  session.load();
  session.feed(4);
  session.run(5);
  session.feed(3);
  expect(name, session.look().completed == 12 && session.look().error.empty(), "do not go with other runs");
}

void testFault() {
  const char *name = "a fault in a batch";
  for (const GraphMode mode : kModes) {
    Setup setup = {mode};
    const auto weightsAfter = [&](uint64_t batches) {
      Session session(setup);
      session.load();
      session.feed(batches);
      return session.look();
    };
    const Outcome good = weightsAfter(4);
    setup.badBatch = 4;
    const Outcome bad = weightsAfter(9);
    expect(name, bad.error.empty() && bad.completed == 4 && bad.weights == good.weights,
           "steps behind it change something");
    expect(name, bad.status.fault == int32_t(Fault::labelOutOfRange) && bad.status.got == 77, "is not reported");
    Session session(setup);
    session.load();
    session.feed(9);
    session.feed(2);
    expect(name, session.look().completed == 6 && session.look().status.fault == 0, "is not over with good data");
  }
  expectNothingLeft(name);
}

// The test of the tests: a wait that the host forgets is seen. Late uploads show that the step does not wait for its
// batch, early ones that an upload does not wait for the step that still needs what it overwrites.
void testMissingWaits() {
  const char *name = "a wait that is missing";
  const Outcome right = fed(GraphMode::on);
  {
    trouble().deaf = true;
    const Outcome wrong = fed(GraphMode::on);
    expect(name, !(wrong == right), "of a step for its batch is not seen");
    trouble() = {};
    emulator::findings().clear();
  }
  {
    Session session({GraphMode::on});
    session.load();
    trouble().eager = trouble().deaf = true;  // of the stream of the uploads, which is made now
    session.feed(kBatches);
    expect(name, !(session.look() == right), "of an upload for a step is not seen");
    trouble() = {};
  }
  expectNothingLeft(name);
}

void testInjection() {
  const char *name = "a call that fails while batches come";
  for (const GraphMode mode : kModes) {
    Setup setup = {mode};
    setup.batches = 5;
    const uint64_t before = emulator::calls();
    const Outcome clean = play(setup);
    const uint64_t calls = emulator::calls() - before;
    for (const cudaError_t with : {cudaErrorInvalidValue, cudaErrorLaunchFailure, cudaErrorMemoryAllocation}) {
      for (uint64_t i = 1; i <= calls; i++) {
        trouble().failAt = i;
        trouble().with = with;
        const Outcome outcome = play(setup);
        trouble() = {};
        const std::string where = std::to_string(i) + " of " + std::to_string(calls);
        expect(name, !outcome.error.empty() || outcome == clean, "is hidden: call " + where);
        // What was told to be done is the beginning of what is done when nothing fails.
        expect(name, outcome.losses.size() <= clean.losses.size(), "makes more steps: call " + where);
        for (size_t k = 0; k < outcome.losses.size(); k++)
          expect(name, outcome.losses[k] == clean.losses[k], "changes a step before it: call " + where);
        expectNothingLeft(name);
      }
    }
  }
}

void testRuntime() {
  const char *name = "events of the emulated runtime";
  cudaStream_t first, second;
  cudaEvent_t event;
  void *memory, *pinned;
  cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking);
  cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking);
  cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  cudaMalloc(&memory, 64);
  cudaHostAlloc(&pinned, 64, cudaHostAllocDefault);
  auto *seen = static_cast<char *>(pinned);
  seen[0] = 1;
  expect(name, cudaEventQuery(event) == cudaSuccess, "an event that nobody recorded is not reached");
  cudaMemsetAsync(memory, 7, 64, first);
  cudaEventRecord(event, first);
  expect(name, cudaEventQuery(event) == cudaErrorNotReady && cudaEventQuery(event) == cudaSuccess, "has one answer");
  cudaMemsetAsync(memory, 8, 64, first);
  cudaEventRecord(event, first);
  cudaMemsetAsync(memory, 9, 64, first);
  cudaStreamWaitEvent(second, event, 0);
  cudaMemcpyAsync(pinned, memory, 64, cudaMemcpyDeviceToHost, second);
  expect(name, seen[0] == 1, "a stream works before somebody waits");
  cudaStreamSynchronize(second);
  expect(name, seen[0] == 8, "a wait for an event brings " + std::to_string(seen[0]));
  cudaStreamBeginCapture(first, cudaStreamCaptureModeThreadLocal);
  expect(name, cudaStreamWaitEvent(first, event, 0) != cudaSuccess, "a capture waits for another stream");
  cudaGraph_t graph = nullptr;
  (void)cudaStreamEndCapture(first, &graph);
  cudaGraphDestroy(graph);
  cudaEventDestroy(event);
  expect(name, cudaEventQuery(event) && cudaStreamWaitEvent(first, event, 0), "takes an event that is gone");
  cudaFree(memory);
  cudaFreeHost(pinned);
  cudaStreamDestroy(first);
  cudaStreamDestroy(second);
  (void)cudaGetLastError();
  expectNothingLeft(name);
}

}  // namespace

void testFeed() {
  testRuntime();
  testValues();
  testFault();
  testMissingWaits();
  testInjection();
}

}  // namespace gradline::cuda::test
