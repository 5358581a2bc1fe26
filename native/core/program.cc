// Binding a verified image: storages to external regions, fresh memory to the others, addresses into ops.
#include "program.h"

#include "device.h"

namespace gradline {

Storage::~Storage() { device_.release(data_, bytes_); }

Executable::Executable(Device &device, Image &image, RunStatus &status) : device_(device), image_(image) {
  for (Op &op : image.ops) op.status = &status;
  ErrorText error{};
  handle_ = device.backend_.compile(device.handle_, image.ops.data(), static_cast<uint32_t>(image.ops.size()),
                                    image.numerics, &error);
  if (!handle_) device.requireHealthy();
  if (!handle_) throw Error(ErrorCode::backend, std::string("the backend refused the program: ") + error.text);
}

Executable::~Executable() { device_.backend_.destroy(handle_); }

Measure Executable::measure() const {
  Measure measure;
  for (const RegionRecord &region : image_.regions) measure.regions.push_back(region.bytes);
  measure.workspace = device_.backend_.workspace(handle_);
  for (uint32_t op = 0; op < image_.ops.size(); op++) {
    const OpPlan plan = device_.backend_.plan(handle_, op);
    measure.plans.emplace_back(plan.text ? plan.text : "");
    measure.threads.push_back(plan.threads);
  }
  return measure;
}

Program::Program(Device &device, Image image, std::vector<std::shared_ptr<Storage>> storages)
    : image_(std::move(image)),
      memory_(std::move(storages)),
      executable_(device, image_, status_),
      measure_(executable_.measure()) {
  checkStorages(device);
  allocate(device);
  for (Op &op : image_.ops) {
    for (int i = 0; i < op.inputs; i++) place(op.in[i]);
    for (int i = 0; i < op.outputs; i++) place(op.out[i]);
    for (int i = 0; i < op.epilogues; i++) {
      if (op.epilogue[i].hasOperand) place(op.epilogue[i].operand);
    }
  }
  for (uint32_t id : image_.inputs) inputBytes_ += bytesOf(image_.values[id]);
  if (image_.metricRegion >= 0) resultBytes_ = image_.regions[static_cast<size_t>(image_.metricRegion)].bytes;
  const void *metrics = image_.metricRegion < 0 ? nullptr : memory_[static_cast<size_t>(image_.metricRegion)]->data_;
  device.backend_.bind(executable_.handle(), workspace_ ? workspace_->data_ : nullptr, metrics, resultBytes_);
  device.requireHealthy();
}

void Program::checkStorages(const Device &device) const {
  const auto reject = [&](size_t i, const std::string &what) {
    const char *kind = nameOf(static_cast<RegionKind>(image_.regions[i].kind));
    throw Error(ErrorCode::argument, "region " + std::to_string(i) + " (" + kind + ") " + what);
  };
  if (memory_.size() != image_.regions.size()) {
    throw Error(ErrorCode::argument, "received " + std::to_string(memory_.size()) +
                                         " storages, expected one entry for " + "each of " +
                                         std::to_string(image_.regions.size()) + " regions");
  }
  for (size_t i = 0; i < memory_.size(); i++) {
    const RegionKind kind = static_cast<RegionKind>(image_.regions[i].kind);
    const Storage *storage = memory_[i].get();
    if (!isExternal(kind)) {
      if (storage) reject(i, "belongs to the program, expected null and received a storage");
      continue;
    }
    if (!storage) reject(i, "outlives the program, expected a storage and received null");
    if (&storage->device_ != &device) reject(i, "received a storage of another device");
    if (storage->bytes_ < image_.regions[i].bytes) {
      reject(i, "needs a storage of " + std::to_string(image_.regions[i].bytes) + " bytes, received one of " +
                    std::to_string(storage->bytes_));
    }
    if (kind == RegionKind::data) continue;
    // The verifier took regions for disjoint memory; only data regions are never written.
    for (size_t other = 0; other < memory_.size(); other++) {
      if (other != i && memory_[other] == memory_[i]) {
        reject(i, "and region " + std::to_string(other) + " received the same storage");
      }
    }
  }
}

void Program::allocate(Device &device) {
  std::string needs;
  for (size_t i = 0; i < memory_.size(); i++) {
    if (memory_[i]) continue;
    const RegionRecord &region = image_.regions[i];
    needs += std::string(nameOf(static_cast<RegionKind>(region.kind))) + " " + std::to_string(region.bytes) + ", ";
    ownedBytes_ += region.bytes;
  }
  needs += "workspace " + std::to_string(measure_.workspace) + " bytes";
  ownedBytes_ += measure_.workspace;
  device.requireMemory(ownedBytes_, "the program (" + needs + ")");
  for (size_t i = 0; i < memory_.size(); i++) {
    if (!memory_[i]) memory_[i] = device.newStorage(image_.regions[i].bytes, "the program (" + needs + ")");
  }
  if (measure_.workspace) workspace_ = device.newStorage(measure_.workspace, "the program (" + needs + ")");
}

void Program::place(Tensor &t) const { t.data = static_cast<char *>(memory_[t.region]->data_) + t.offset; }

namespace {

std::string faultText(const RunStatus &status) {
  const std::string row = std::to_string(status.row);
  if (status.fault == static_cast<int32_t>(Fault::notFinite)) {
    const char *value = status.got == 0 ? "NaN" : status.got > 0 ? "Infinity" : "-Infinity";
    return "element " + row + " became " + value;
  }
  const bool label = status.fault == static_cast<int32_t>(Fault::labelOutOfRange);
  return std::string(label ? "label " : "index ") + std::to_string(status.got) + " in row " + row + " is outside 0.." +
         std::to_string(status.limit - 1);
}

}  // namespace

Error Program::fault(uint64_t completed) const {
  const std::string text = faultText(status_);
  Error error = status_.op < image_.ops.size() ? image_.errorAt(image_.ops[status_.op], ErrorCode::fault, text)
                                               : Error(ErrorCode::fault, text);
  error.completed = static_cast<int64_t>(completed);
  return error;
}

}  // namespace gradline
