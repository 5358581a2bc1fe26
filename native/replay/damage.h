// Damaged programs: whatever stands in the bytes, a program is refused with an error or runs inside its own memory. Who
// watches the memory is a sanitizer.
#pragma once
#include <cstdint>
#include <memory>

#include "../core/device.h"
#include "pack.h"

namespace gradline::replay {

// Damages the program of a case again and again for so many seconds and runs what is not refused.
void damage(const std::shared_ptr<Device> &device, const Case &item, uint64_t seed, double seconds);

}  // namespace gradline::replay
