// See lanes.h.
#include <algorithm>
#include <chrono>
#include <cstring>

#include "lanes.h"

namespace gradline::cuda {
namespace {

constexpr int kSlots = 4;                  // launches of this kind at once: half the queues of a process
constexpr size_t kMostPrograms = 256;      // of a launch; more blocks than a card has multiprocessors gain nothing
constexpr double kShortestLaunch = 0.001;  // seconds: what a lane with little to do may have to wait for the others
constexpr double kPatience = 0.02;         // for a lane, of the time of the launch that it was in

// Waiting by the steady clock asks for a function of glibc 2.30, which is more than a release may.
using WallClock = std::chrono::system_clock;

}  // namespace

// A stream of launches, one at a time, and what the card reads and writes in them.
struct Lanes::Slot {
  Stream stream;
  Event landed;
  PinnedMemory programs, landings;
  bool isBusy = false;
};

std::shared_ptr<Lanes> Lanes::of(int card) {
  static std::mutex mutex;
  static auto *const known = new std::map<int, std::weak_ptr<Lanes>>;  // outlives devices that end with the process
  const std::lock_guard lock(mutex);
  std::weak_ptr<Lanes> &place = (*known)[card];
  std::shared_ptr<Lanes> lanes = place.lock();
  if (!lanes) place = lanes = std::make_shared<Lanes>();
  return lanes;
}

Lanes::~Lanes() = default;

Lanes::Visit::Visit(Lanes &lanes, const Device &device) : lanes_(lanes), device_(device) {
  const std::lock_guard lock(lanes.mutex_);
  lanes.lanes_[&device].runs = true;
  const double time = now();
  isAlone_ = std::none_of(lanes.lanes_.begin(), lanes.lanes_.end(), [&](const auto &lane) {
    return lane.first != &device && (lane.second.runs || lane.second.expectedUntil > time);
  });
}

Lanes::Visit::~Visit() {
  const std::lock_guard lock(lanes_.mutex_);
  lanes_.lanes_[&device_].runs = false;
}

void Lanes::forget(const Device &device) {
  const std::lock_guard lock(mutex_);
  lanes_.erase(&device);
  leader_.notify_one();  // it is not waited for any more
}

void Lanes::launch(Share &share) {
  {
    std::unique_lock lock(mutex_);
    share.isDone = false;
    lanes_[&share.device].expectedUntil = 0;  // it has come
    waiting_.push_back(&share);
    leader_.notify_one();
    while (!share.isDone) {
      const bool waits = std::find(waiting_.begin(), waiting_.end(), &share) != waiting_.end();
      if (waits && !isLed_)
        lead(lock);
      else
        share.turn.wait(lock);
    }
  }
  if (!share.error.empty()) throw std::runtime_error(share.error);
}

// Until when a lane may still come that was here a moment ago.
double Lanes::expectedUntil() const {
  double until = 0;
  for (const auto &[device, lane] : lanes_) until = std::max(until, lane.expectedUntil);
  return until;
}

// Waits for a slot and for who is expected, launches for all that have come, and waits for the card.
void Lanes::lead(std::unique_lock<std::mutex> &lock) {
  isLed_ = true;
  if (slots_.empty()) {
    for (int i = 0; i < kSlots; i++) slots_.push_back(std::make_unique<Slot>());
  }
  Slot *slot = nullptr;
  for (;;) {
    const auto free = std::find_if(slots_.begin(), slots_.end(), [](const auto &each) { return !each->isBusy; });
    slot = free == slots_.end() ? nullptr : free->get();
    const double left = expectedUntil() - now();
    if (slot && (left <= 0 || waiting_.size() >= kMostPrograms)) break;
    if (slot)
      leader_.wait_until(lock, WallClock::now() + std::chrono::duration_cast<WallClock::duration>(
                                                      std::chrono::duration<double>(left)));
    else
      leader_.wait(lock);
  }
  const auto end = waiting_.begin() + static_cast<ptrdiff_t>(std::min(waiting_.size(), kMostPrograms));
  const std::vector<Share *> shares(waiting_.begin(), end);
  waiting_.erase(waiting_.begin(), end);
  slot->isBusy = true;
  isLed_ = false;
  if (!waiting_.empty()) waiting_.front()->turn.notify_one();  // to prepare the next one; else whoever comes does
  lock.unlock();
  const double began = now();
  std::string error;
  try {
    put(*slot, shares);
    check(cudaEventSynchronize(slot->landed.get()), "wait for the steps of several models");
  } catch (const std::exception &failure) {
    error = failure.what();
    // What the card may still read must not change. Where this fails too the card is lost, and reads nothing.
    if (slot->stream.get()) (void)cudaStreamSynchronize(slot->stream.get());
  }
  const double ended = now();
  lock.lock();
  for (size_t i = 0; i < shares.size(); i++) {
    Share &share = *shares[i];
    share.error = error;
    if (error.empty()) share.landing = static_cast<const Landing *>(slot->landings.get())[i];
    lanes_[&share.device].expectedUntil = ended + kPatience * (ended - began);
    share.isDone = true;
    share.turn.notify_one();
  }
  slot->isBusy = false;
  leader_.notify_one();
}

// Decides how many steps each of them makes, and puts the launch into the stream of the slot.
void Lanes::put(Slot &slot, const std::vector<Share *> &shares) {
  if (!slot.stream.get())
    check(cudaStreamCreateWithFlags(slot.stream.out(), cudaStreamNonBlocking), "create a stream for several models");
  if (!slot.landed.get())
    check(cudaEventCreateWithFlags(slot.landed.out(), cudaEventDisableTiming | cudaEventBlockingSync),
          "create an event");
  if (!slot.programs.get())
    check(cudaHostAlloc(slot.programs.out(), kMostPrograms * programBytes(), cudaHostAllocDefault),
          "allocate pinned memory for the programs of several models");
  if (!slot.landings.get())
    check(cudaHostAlloc(slot.landings.out(), kMostPrograms * sizeof(Landing), cudaHostAllocDefault),
          "allocate pinned memory for what several models report");
  // As long as the one with least to do takes: a lane waits for the whole launch.
  double longest = kLongestLaunch;
  for (const Share *share : shares) {
    const double own = static_cast<double>(share->steps) * share->secondsPerStep;
    longest = std::min(longest, std::max(own, kShortestLaunch));
  }
  auto *landings = static_cast<Landing *>(slot.landings.get());
  for (size_t i = 0; i < shares.size(); i++) {
    Share &share = *shares[i];
    const double inTime = share.secondsPerStep > 0 ? longest / share.secondsPerStep : 1;
    share.steps = std::max<uint64_t>(1, std::min(share.steps, static_cast<uint64_t>(inTime)));
    writeProgram(slot.programs.get(), static_cast<int>(i), share.sequence, static_cast<uint32_t>(share.steps),
                 share.status, &landings[i]);
  }
  Launches launches;
  planSideBySide(launches, slot.programs.get(), static_cast<int>(shares.size()));
  launchKernel(launches.list[0], slot.stream.get());
  check(cudaEventRecord(slot.landed.get(), slot.stream.get()), "record an event");
}

}  // namespace gradline::cuda
