// One case on one device: loaded as the addon loads it, run any number of steps, looked at in between.
#pragma once
#include <memory>

#include "../core/device.h"
#include "pack.h"

namespace gradline::replay {

class Loaded {
 public:
  // Throws Error when the program is refused, or the case does not fit it.
  Loaded(std::shared_ptr<Device> device, const Case &item);

  // Throws Error when a step fails.
  void run(uint64_t steps);

  // What region `i` holds now, of region metric what the last step of the last run left; empty for the other regions
  // that belong to the program.
  std::vector<uint8_t> content(uint32_t i) const;

  // Sets the regions that outlive the program to what they hold there.
  void follow(const Loaded &other);

  // The bytes of a checked range.
  std::vector<uint8_t> range(const Check &check) const;

 private:
  std::shared_ptr<Device> device_;
  const Case &case_;
  std::vector<std::shared_ptr<Storage>> storages_;
  std::shared_ptr<Program> program_;
  std::vector<uint8_t> metrics_;
};

}  // namespace gradline::replay
