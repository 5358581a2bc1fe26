// A loaded program and the memory it works in. Storage is one block of device memory: bound to an external region by
// many programs, or owned by one. Both are created by Device and end on the thread that may call the backend.
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "image.h"

namespace gradline {

class Device;

// Something that has to be destroyed while holding the device's backend lock; see Device::own.
struct Resource {
  virtual ~Resource() = default;
};

class Storage : public Resource {
 public:
  ~Storage() override;
  uint64_t bytes() const { return bytes_; }
  bool busy() const { return users_.load(std::memory_order_acquire) > 0; }

 private:
  friend class Device;
  friend class Program;
  friend class Slots;
  Storage(Device &device, void *data, uint64_t bytes) : device_(device), data_(data), bytes_(bytes) {}

  Device &device_;
  void *const data_;
  const uint64_t bytes_;
  std::atomic<int64_t> users_{0};  // runs, queued or running, of programs that this storage is bound to
};

// What a program would take, without taking it.
struct Measure {
  std::vector<uint64_t> regions;  // bytes by region, in the order of the program
  uint64_t workspace = 0;
  std::vector<std::string> plans;  // by op: kernel and threads as text
  std::vector<int32_t> threads;    // by op
};

// An image compiled by the backend of a device; executables end before the ops they point to.
class Executable {
 public:
  Executable(Device &device, Image &image, RunStatus &status);
  ~Executable();
  Executable(const Executable &) = delete;

  void *handle() const { return handle_; }
  Measure measure() const;

 private:
  Device &device_;
  const Image &image_;
  void *handle_;
};

// Memory of the host that batches go through, laid out like the region of the inputs. Filled by the thread that queues
// runs while the runner works on the others.
class Slots {
 public:
  // One for the step that runs, one for the batch that waits on the device, one that is being filled.
  static constexpr uint32_t kCount = 3;

  // With the backend lock held. Throws Error (argument, memory).
  Slots(Device &device, const Image &image);
  ~Slots();
  Slots(const Slots &) = delete;

 private:
  friend class Device;
  struct Slot {
    uint8_t *memory = nullptr;
    std::atomic<bool> busy{false};  // from enqueue until its step has ended
  };
  Device &device_;
  Slot slots_[kCount];
  uint32_t region_ = 0;
  uint64_t bytes_ = 0;
  std::vector<std::shared_ptr<Storage>> memory_;  // where the device's memory is that of the host
  std::shared_ptr<Storage> staging_;              // where it is not
};

class Program : public Resource {
 public:
  uint64_t bytes() const { return ownedBytes_; }  // owned regions and workspace
  uint64_t resultBytes() const { return resultBytes_; }
  const Image &image() const { return image_; }
  uint64_t inputBytes() const { return inputBytes_; }

  // The running run and all queued ones of this program end at the next step boundary.
  void stop() { stops_.fetch_add(1, std::memory_order_release); }

 private:
  friend class Device;
  // Called with the backend lock held. `storages`: one entry per region, null where the program owns it.
  Program(Device &device, Image image, std::vector<std::shared_ptr<Storage>> storages);
  void checkStorages(const Device &device) const;
  void allocate(Device &device);
  void place(Tensor &t) const;
  Error fault(uint64_t completed) const;

  Image image_;
  RunStatus status_{};
  std::vector<std::shared_ptr<Storage>> memory_;  // by region
  std::shared_ptr<Storage> workspace_;
  Executable executable_;
  std::unique_ptr<Slots> slots_;  // once a batch is to go through them
  Measure measure_;
  uint64_t ownedBytes_ = 0, resultBytes_ = 0, inputBytes_ = 0;
  std::atomic<uint64_t> stops_{0};
  bool failed_ = false;  // the last run met a fault; known to the runner thread alone
};

}  // namespace gradline
