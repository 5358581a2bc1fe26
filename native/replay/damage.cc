// Damage as a broken file or an attacker does it: bytes flipped, numbers replaced by the ones that hurt, records copied
// over others, ends cut off. The first stays close to a valid program and so gets far.
#include "damage.h"

#include <chrono>
#include <cstring>

namespace gradline::replay {
namespace {

constexpr uint64_t kMostMemory = uint64_t{32} << 20;
constexpr uint64_t kMostElements = uint64_t{1} << 20;  // of one value: what the oracle can walk in a moment

// SplitMix64 (Steele, Lea, Flood 2014).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  uint64_t below(uint64_t limit) { return next() % limit; }

 private:
  uint64_t state_;
};

void put(std::vector<uint8_t> &bytes, uint64_t at, uint64_t value, size_t size) {
  if (at + size <= bytes.size()) std::memcpy(bytes.data() + at, &value, size);
}

std::vector<uint8_t> damaged(const std::vector<uint8_t> &whole, Random &random) {
  static constexpr uint64_t kHurting[] = {0,
                                          1,
                                          2,
                                          3,
                                          7,
                                          8,
                                          63,
                                          64,
                                          0x7fffffff,
                                          0x80000000,
                                          0xffffffff,
                                          0x7fffffffffffffff,
                                          0x8000000000000000,
                                          0xffffffffffffffff,
                                          uint64_t{1} << 40,
                                          0x7ff0000000000000,
                                          0x7ff8000000000000,
                                          0xc000000000000000};
  std::vector<uint8_t> bytes = whole;
  const uint64_t size = bytes.size();
  for (uint64_t n = 1 + random.below(3); n > 0; n--) {
    const uint64_t at = random.below(size);
    switch (random.below(6)) {
      case 0:
        bytes[at] ^= static_cast<uint8_t>(1u << random.below(8));
        break;
      case 1:
        bytes[at] = static_cast<uint8_t>(random.next());
        break;
      case 2:
        put(bytes, at / 4 * 4, kHurting[random.below(std::size(kHurting))], 4);
        break;
      case 3:
        put(bytes, at / 8 * 8, kHurting[random.below(std::size(kHurting))], 8);
        break;
      case 4: {  // a small change of a number
        uint32_t value;
        const uint64_t begin = std::min(at / 4 * 4, size - 4);
        std::memcpy(&value, bytes.data() + begin, 4);
        put(bytes, begin, value + random.below(5) - 2, 4);
        break;
      }
      default: {  // a stretch copied to another place
        const uint64_t from = random.below(size), length = std::min(random.below(240), size - std::max(at, from));
        std::memmove(bytes.data() + at, whole.data() + from, length);
      }
    }
  }
  if (random.below(50) == 0) bytes.resize(random.below(size));
  return bytes;
}

// What the program needs and takes a moment; else it is not run, which is no error.
bool isSmall(const Image &image) {
  uint64_t total = 0;
  for (const RegionRecord &region : image.regions) total += region.bytes;
  for (const Tensor &value : image.values) {
    if (static_cast<uint64_t>(value.size) > kMostElements) return false;
  }
  return total <= kMostMemory;
}

void attempt(const std::shared_ptr<Device> &device, const std::vector<uint8_t> &bytes) try {
  Image image = decode(bytes.data(), bytes.size());
  verify(image);
  if (!isSmall(image) || device->measure(bytes.data(), bytes.size()).workspace > kMostMemory) return;
  std::vector<std::shared_ptr<Storage>> storages;
  for (const RegionRecord &region : image.regions) {
    storages.push_back(isExternal(static_cast<RegionKind>(region.kind)) ? device->allocate(region.bytes) : nullptr);
  }
  const auto program = device->load(bytes.data(), bytes.size(), storages);
  device->runAndWait(program, 2, std::vector<uint8_t>(program->inputBytes(), 0x3f));
} catch (const Error &) {
}

}  // namespace

void damage(const std::shared_ptr<Device> &device, const Case &item, uint64_t seed, double seconds) {
  using Clock = std::chrono::steady_clock;
  Random random(seed);
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  do {
    attempt(device, damaged(item.program, random));
  } while (Clock::now() < end);
}

}  // namespace gradline::replay
