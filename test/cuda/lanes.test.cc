// Small programs of several lanes at the same time, a thread each, as the core runs them: their launches become one,
// and nothing of that shows in weights, losses, faults, stops and failures. Runs under the thread sanitizer too
// (`npm run test:cuda -- --threads`).
#include <thread>

#include "../../native/cuda/emulator/runtime.h"
#include "session.h"
#include "tests.h"

namespace gradline::cuda::test {
namespace {

using emulator::trouble;

// Each from its beginning to its end, on a thread of its own.
std::vector<Outcome> playAll(const std::vector<Setup> &setups) {
  std::vector<Outcome> outcomes(setups.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < setups.size(); i++) threads.emplace_back([&, i] { outcomes[i] = play(setups[i]); });
  for (std::thread &thread : threads) thread.join();
  return outcomes;
}

Setup training(uint64_t steps, int32_t label) {
  Setup setup = {GraphMode::on, steps};
  setup.label = label;
  return setup;
}

// Networks that differ in their labels and number of steps, so that some end while others go on; one meets a label that
// is none, and one is stopped.
void testTogether() {
  const char *name = "lanes at the same time";
  std::vector<Setup> setups;
  for (int32_t i = 0; i < 8; i++) setups.push_back(training(static_cast<uint64_t>(10 + 13 * i), i % 4));
  setups[2].label = 77;
  std::vector<Outcome> alone;
  for (const Setup &setup : setups) alone.push_back(play(setup));
  Setup stopping = training(100000, 1);
  stopping.stopAfter = 2;
  setups.push_back(stopping);
  uint32_t most = 0;
  (void)emulator::blocksAtOnce();
  for (int round = 0; round < 20 && (round < 3 || most < 3); round++) {
    const std::vector<Outcome> together = playAll(setups);
    for (size_t i = 0; i < alone.size(); i++) {
      const Outcome &one = together[i];
      const std::string which = "lane " + std::to_string(i) + " ";
      expect(name, one == alone[i], which + "has other bits than alone, " + one.error);
      expect(name, one.completed == alone[i].completed && one.status.fault == alone[i].status.fault,
             which + "completed " + std::to_string(one.completed) + " steps");
    }
    const Outcome &stopped = together.back();
    expect(name, stopped.completed > 0 && stopped.completed < stopping.steps, "a stop is not heard");
    expect(name, stopped.weights == play(training(stopped.completed, 1)).weights, "other bits up to a stop");
    expectNothingLeft(name);
    most = std::max(most, emulator::blocksAtOnce());
  }
  expect(name, most >= 3, "never more than " + std::to_string(most) + " in a launch");
}

// A run that fails in one of the calls that lanes share fails for all who had a share in it, and is hidden from none.
void testFailures() {
  const char *name = "lanes, a call that fails";
  const std::vector<Setup> setups = {training(5, 0), training(7, 1), training(9, 2)};
  std::vector<Outcome> alone;
  for (const Setup &setup : setups) alone.push_back(play(setup));
  const uint64_t before = emulator::calls();
  (void)playAll(setups);
  const uint64_t calls = emulator::calls() - before;
  for (const cudaError_t with : {cudaErrorInvalidValue, cudaErrorLaunchFailure}) {
    uint64_t told = 0, tried = 0;
    for (uint64_t i = with == cudaErrorInvalidValue ? 1 : 2; i <= calls; i += 4, tried++) {
      trouble().failAt = i;
      trouble().with = with;
      const std::vector<Outcome> outcomes = playAll(setups);
      trouble() = {};
      bool any = false;
      for (size_t k = 0; k < outcomes.size(); k++) {
        any |= !outcomes[k].error.empty();
        expect(name, !outcomes[k].error.empty() || outcomes[k] == alone[k],
               "is hidden from lane " + std::to_string(k) + ": call " + std::to_string(i));
      }
      told += any;
      expectNothingLeft(name);
    }
    expect(name, told > tried / 2, "is told of " + std::to_string(told) + " of " + std::to_string(tried) + " only");
  }
}

}  // namespace

void testLanes() {
  testTogether();
  testFailures();
}

}  // namespace gradline::cuda::test
