// Runs whose batch comes through a slot: the slots of a program, and how consecutive runs become one call of a backend
// that takes batches while its steps run. Where the device's memory is that of the host such a run is like any other
// (device.cc); its batch was put into the slot beside the steps before it.
#include <cstring>

#include "device.h"

namespace gradline {

Slots::Slots(Device &device, const Image &image) : device_(device) {
  if (image.inputs.empty()) throw Error(ErrorCode::argument, "the program has no inputs that batches could go to");
  region_ = image.values[image.inputs[0]].region;
  for (const uint32_t id : image.inputs) {
    if (image.values[id].region != region_)
      throw Error(ErrorCode::argument, "inputs of several regions take no batches");
  }
  bytes_ = (image.regions[region_].bytes + kAlignment - 1) / kAlignment * kAlignment;
  const std::string what = "the batches of a program";
  if (device.backend_.feed) staging_ = device.newStorage(kStagings * bytes_, what);
  for (Slot &slot : slots_) {
    if (!device.backend_.feed) {
      memory_.push_back(device.newStorage(bytes_, what));
      slot.memory = static_cast<uint8_t *>(memory_.back()->data_);
      continue;
    }
    slot.memory = static_cast<uint8_t *>(device.backend_.pin(device.handle_, bytes_));
    if (slot.memory) continue;
    for (Slot &made : slots_) {
      if (made.memory) device.backend_.unpin(device.handle_, made.memory);
    }
    device.requireHealthy();
    throw Error(ErrorCode::memory,
                "out of memory: no " + std::to_string(bytes_) + " bytes of pinned memory for " + what);
  }
}

Slots::~Slots() {
  for (Slot &slot : slots_) {
    if (device_.backend_.feed) device_.backend_.unpin(device_.handle_, slot.memory);
  }
}

uint32_t Device::openSlots(Program &program) {
  requireOpen();
  if (!program.slots_) {
    const std::lock_guard lock(backendLock_);
    destroyDiscarded();
    program.slots_ = std::make_unique<Slots>(*this, program.image_);
  }
  return Slots::kCount;
}

uint8_t *Device::slot(Program &program, uint32_t index) {
  if (!program.slots_ || index >= Slots::kCount) {
    throw Error(ErrorCode::argument, "the program has no slot " + std::to_string(index));
  }
  const Slots::Slot &slot = program.slots_->slots_[index];
  if (slot.busy.load(std::memory_order_acquire)) {
    throw Error(ErrorCode::busy, "slot " + std::to_string(index) + " is in use by a run");
  }
  return slot.memory;
}

// What the backend asks while it takes batches. Runs are taken from the front of the queue only, so that those of other
// programs get their turn, and none while somebody waits for the device.
struct Device::Feeding {
  Device &device;
  Program &program;
  Queued first;
  std::vector<Queued> taken;  // oldest first
  bool begun = false;

  static const void *next(void *context) {
    auto &self = *static_cast<Feeding *>(context);
    if (!self.begun) {
      self.begun = true;
      return self.take(std::move(self.first));
    }
    Device &device = self.device;
    if (device.closing_ || device.backendLock_.contended()) return nullptr;
    const std::lock_guard lock(device.mutex_);
    if (!device.discarded_.empty() || device.queue_.empty()) return nullptr;
    const Run &run = *device.queue_.front().run;
    if (run.program.get() != &self.program || run.options.slot < 0 || !run.options.continues) return nullptr;
    if (self.program.stops_.load(std::memory_order_acquire) != run.stopsBefore) return nullptr;
    Queued queued = std::move(device.queue_.front());
    device.queue_.pop_front();
    return self.take(std::move(queued));
  }

  const void *take(Queued queued) {
    const void *memory = program.slots_->slots_[queued.run->options.slot].memory;
    taken.push_back(std::move(queued));
    return memory;
  }

  static void done(void *context, const void *metrics) {
    auto &self = *static_cast<Feeding *>(context);
    Queued queued = std::move(self.taken.front());
    self.taken.erase(self.taken.begin());
    Run &run = *queued.run;
    if (self.program.resultBytes_ > 0) std::memcpy(run.results.get(), metrics, self.program.resultBytes_);
    run.completed = 1;
    finish(std::move(queued));
  }
};

// One run, and those behind it in the queue that go on where it ends.
void Device::feed(Queued queued) {
  const std::shared_ptr<Program> keep = queued.run->program;
  Program &program = *keep;
  const bool stopped = program.stops_.load(std::memory_order_acquire) != queued.run->stopsBefore;
  if (stopped || (queued.run->options.continues && program.failed_)) return finish(std::move(queued));
  program.failed_ = false;
  program.status_ = RunStatus{};
  Feeding feeding = {*this, program, std::move(queued), {}};
  feeding.taken.reserve(Slots::kCount);
  std::optional<Error> error;
  try {
    const std::lock_guard lock(backendLock_);
    const Slots &slots = *program.slots_;
    const FeedPlace place = {program.memory_[slots.region_]->data_, slots.staging_->data_, slots.bytes_};
    const Feed feed = {Feeding::next, Feeding::done, &feeding};
    backend_.feed(program.executable_.handle(), &place, &feed, &program.status_);
    requireHealthy();
    if (program.status_.fault != 0) error = program.fault(0);
  } catch (const Error &failure) {
    error = failure;
  } catch (const std::exception &failure) {  // no room for a text, at worst
    error = Error(ErrorCode::backend, failure.what());
  }
  if (!feeding.begun) feeding.taken.push_back(std::move(feeding.first));
  if (error) {
    error->completed = 0;
    program.failed_ = true;
    // The first that has not ended met it; those behind did nothing.
    if (!feeding.taken.empty()) feeding.taken.front().run->error = error;
  }
  for (Queued &left : feeding.taken) finish(std::move(left));
}

}  // namespace gradline
