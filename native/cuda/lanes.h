// Lanes of one card that run small programs at the same time: their launches become one, whose block i makes the steps
// of the i-th program, each with its own stages, steps, status and ring. A card has more than a hundred multiprocessors
// but takes few launches at once (a process has 8 queues, at most 32), so launches of one block each would leave most
// of it idle. It knows nothing of what the programs compute; how a run goes on between two launches is run.cu.
//
// Who finds no launch being prepared prepares one and waits for the card; the others wait for that thread. A launch
// leaves when a slot is free and nobody is expected any more: whoever was in a launch a moment ago and is likely to
// come back, waited for at most a fiftieth of what that launch took. So models that begin together stay together, and
// one that is alone waits for nobody.
#pragma once
#include <condition_variable>
#include <map>
#include <mutex>

#include "host.h"

namespace gradline::cuda {

class Lanes {
 public:
  // Those of a card; made with its first device and gone with its last.
  static std::shared_ptr<Lanes> of(int card);
  ~Lanes();

  // A run of small programs: as long as it lives, other lanes do not think of themselves as alone.
  class Visit {
   public:
    Visit(Lanes &lanes, const Device &device);
    ~Visit();
    Visit(const Visit &) = delete;
    bool isAlone() const { return isAlone_; }

   private:
    Lanes &lanes_;
    const Device &device_;
    bool isAlone_;
  };

  // What a lane asks of a launch, and gets.
  struct Share {
    const Device &device;
    const Launch &sequence;  // of one block
    const DeviceStatus *status;
    uint64_t steps;         // at most so many; then: so many were launched
    double secondsPerStep;  // 0: not known, so it will be one step
    Landing landing;
    std::string error;
    bool isDone = false;
    std::condition_variable turn{};  // it is done, or has to prepare the launch: nobody else is woken for that
  };
  // Returns when the steps are made. What the program uses must be free of other work. Throws when a call of the
  // runtime fails, whichever of the lanes made it.
  void launch(Share &share);
  // The device is about to end.
  void forget(const Device &device);

 private:
  struct Slot;
  struct Lane {
    bool runs = false;
    double expectedUntil = 0;  // to come back
  };
  void lead(std::unique_lock<std::mutex> &lock);
  double expectedUntil() const;
  static void put(Slot &slot, const std::vector<Share *> &shares);

  std::mutex mutex_;                // of all below
  std::condition_variable leader_;  // who prepares a launch waits here for others, and for a slot
  std::map<const Device *, Lane> lanes_;
  std::vector<Share *> waiting_;  // for the launch being prepared
  bool isLed_ = false;            // somebody prepares it
  std::vector<std::unique_ptr<Slot>> slots_;
};

}  // namespace gradline::cuda
