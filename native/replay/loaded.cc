// Loading and running a case through the core's own door.
#include "loaded.h"

#include <algorithm>

#include "compare.h"
#include "probe.h"

namespace gradline::replay {

Loaded::Loaded(std::shared_ptr<Device> device, const Case &item) : device_(std::move(device)), case_(item) {
  const Image image = decode(item.program.data(), item.program.size());
  const auto reject = [](const std::string &what) { throw Error(ErrorCode::argument, "the case " + what); };
  if (item.contents.size() != image.regions.size()) {
    reject("has contents for " + std::to_string(item.contents.size()) + " of " + std::to_string(image.regions.size()) +
           " regions");
  }
  // What the program owns holds nothing when a step begins; the gaps between gradients, which nothing writes, stay
  // zero. The core allocates the regions in their order, then the workspace.
  std::vector<bool> unwritten;
  for (size_t i = 0; i < image.regions.size(); i++) {
    const auto &content = item.contents[i];
    const auto kind = static_cast<RegionKind>(image.regions[i].kind);
    if (!isExternal(kind)) {
      storages_.push_back(nullptr);
      unwritten.push_back(kind != RegionKind::grad);
      continue;
    }
    const auto storage = device_->allocate(std::max<uint64_t>(image.regions[i].bytes, content.size()));
    if (!content.empty()) device_->write(*storage, 0, content.data(), content.size());
    storages_.push_back(storage);
  }
  unwritten.push_back(true);
  poisonNext(unwritten);
  program_ = device_->load(item.program.data(), item.program.size(), storages_);
  poisonNext({});
  if (item.inputs.size() != program_->inputBytes()) {
    reject("has " + std::to_string(item.inputs.size()) + " bytes of inputs, the program takes " +
           std::to_string(program_->inputBytes()));
  }
  for (const Check &check : item.checks) {
    if (check.region >= image.regions.size() || check.count > image.regions[check.region].bytes ||
        check.offset > image.regions[check.region].bytes - bytesOf(check)) {
      reject("checks a range outside of its regions");
    }
  }
}

void Loaded::run(uint64_t steps) {
  const auto run = device_->runAndWait(program_, steps, case_.inputs);
  if (run->error) throw Error(*run->error);
  const uint64_t bytes = program_->resultBytes();
  if (run->completed == 0 || bytes == 0) return;
  const uint8_t *last = run->results.get() + (run->completed - 1) * bytes;
  metrics_.assign(last, last + bytes);
}

std::vector<uint8_t> Loaded::content(uint32_t i) const {
  if (!storages_[i])
    return static_cast<int64_t>(i) == program_->image().metricRegion ? metrics_ : std::vector<uint8_t>{};
  std::vector<uint8_t> bytes(storages_[i]->bytes());
  device_->read(*storages_[i], 0, bytes.data(), bytes.size());
  return bytes;
}

void Loaded::follow(const Loaded &other) {
  for (uint32_t i = 0; i < storages_.size(); i++) {
    if (!storages_[i] || static_cast<RegionKind>(program_->image().regions[i].kind) == RegionKind::data) continue;
    const auto bytes = other.content(i);
    device_->write(*storages_[i], 0, bytes.data(), bytes.size());
  }
}

std::vector<uint8_t> Loaded::range(const Check &check) const {
  const auto bytes = content(check.region);
  const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(check.offset);
  return {begin, begin + static_cast<std::ptrdiff_t>(bytesOf(check))};
}

}  // namespace gradline::replay
