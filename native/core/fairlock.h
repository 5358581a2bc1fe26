// A mutex that serves in order of arrival. The runner takes it anew for each step; with a plain mutex it would win
// every time and a read from JavaScript could wait for a whole run instead of for one step.
#pragma once
#include <atomic>
#include <cstdint>

namespace gradline {

class FairLock {
 public:
  void lock() {
    const uint32_t ticket = next_.fetch_add(1, std::memory_order_relaxed);
    for (;;) {
      const uint32_t serving = serving_.load(std::memory_order_acquire);
      if (serving == ticket) return;
      serving_.wait(serving, std::memory_order_acquire);
    }
  }
  // Whether somebody waits for the holder.
  bool contended() const {
    return next_.load(std::memory_order_relaxed) - serving_.load(std::memory_order_relaxed) > 1;
  }
  void unlock() {
    serving_.fetch_add(1, std::memory_order_release);
    serving_.notify_all();
  }

 private:
  std::atomic<uint32_t> next_{0}, serving_{0};
};

}  // namespace gradline
