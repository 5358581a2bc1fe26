// Steps whose batches come from the host one by one. A batch is uploaded on a stream of its own into one of two
// stagings, beside the step before it; the stream of the steps copies it from there to where the graph of the step
// reads it. So the graph is the one that every run uses, with its fixed addresses, and one copy within the card, a
// small part of what the upload takes, stands before it. Events order the two streams in both directions; the host
// waits for neither.
#include <thread>

#include "host.h"

namespace gradline::cuda {
namespace {

// What a wait that asks again and again spins for before it sleeps in between, and how long it then sleeps.
constexpr double kSpin = 0.0002;
constexpr std::chrono::microseconds kNap{50};

}  // namespace

void Executable::feed(const FeedPlace &place, const Feed &feed, RunStatus *status) {
  if (!device_.uploads.get())
    check(cudaStreamCreateWithFlags(device_.uploads.out(), cudaStreamNonBlocking), "create a stream");
  for (Event *events : {uploaded_, taken_}) {
    for (int i = 0; i < kStagings; i++) {
      if (!events[i].get()) check(cudaEventCreateWithFlags(events[i].out(), cudaEventDisableTiming), "create an event");
    }
  }
  const cudaStream_t stream = device_.stream.get();
  auto *copies = static_cast<DeviceStatus *>(statusCopy_.get());
  const uint64_t most = std::min<uint64_t>(kInFlight, slots_);
  uint64_t launched = 0, landed = 0;
  bool isOver = false;
  double idleSince = now();
  begin();
  for (;;) {
    const void *batch = isOver || launched - landed == most ? nullptr : feed.next(feed.context);
    if (batch) {
      upload(place, batch, launched);
      launch(1);
      check(cudaMemcpyAsync(&copies[launched % kInFlight], status_, sizeof *copies, cudaMemcpyDeviceToHost, stream),
            "read a report");
      check(cudaEventRecord(reached_[launched % kInFlight].get(), stream), "record an event");
      launched++;
    } else if (landed == launched) {
      break;
    } else if (hasReached(landed)) {
      isOver = isOver || copies[landed % kInFlight].first.fault != 0;
      const char *slot = static_cast<const char *>(ring_.get()) + (stepsBefore_ + landed) % slots_ * slotBytes_;
      if (!isOver) feed.done(feed.context, slot);
      landed++;
    } else {
      if (now() - idleSince > kSpin || devicesOpen > 1) std::this_thread::sleep_for(kNap);
      continue;
    }
    idleSince = now();
  }
  finish(status);
}

// The batch of the step that will be launched next, into its inputs.
void Executable::upload(const FeedPlace &place, const void *batch, uint64_t number) {
  const cudaStream_t stream = device_.stream.get(), uploads = device_.uploads.get();
  const uint64_t which = number % kStagings;
  char *staging = static_cast<char *>(place.staging) + which * place.bytes;
  // The batch before it in this staging may still be on its way to its step.
  if (number >= kStagings) check(cudaStreamWaitEvent(uploads, taken_[which].get(), 0), "wait for a step");
  check(cudaMemcpyAsync(staging, batch, place.bytes, cudaMemcpyHostToDevice, uploads), "upload a batch");
  check(cudaEventRecord(uploaded_[which].get(), uploads), "record an event");
  check(cudaStreamWaitEvent(stream, uploaded_[which].get(), 0), "wait for a batch");
  check(cudaMemcpyAsync(place.inputs, staging, place.bytes, cudaMemcpyDeviceToDevice, stream), "copy a batch");
  check(cudaEventRecord(taken_[which].get(), stream), "record an event");
}

bool Executable::hasReached(uint64_t number) {
  const cudaError_t error = cudaEventQuery(reached_[number % kInFlight].get());
  if (error != cudaErrorNotReady) check(error, "wait for a step");
  (void)cudaGetLastError();  // not being ready is no failure, though the runtime keeps it as one
  return error == cudaSuccess;
}

}  // namespace gradline::cuda
