// Reads a pack with every length checked against what is left of the file.
#include "pack.h"

#include <cstring>
#include <fstream>
#include <iterator>

#include "../core/error.h"

namespace gradline::replay {
namespace {

constexpr char kMagic[] = "GLREPLAY";
constexpr uint32_t kVersion = 1;

class Reader {
 public:
  Reader(const std::string &path, std::vector<char> bytes) : path_(path), bytes_(std::move(bytes)) {}

  [[noreturn]] void reject(const std::string &what) const {
    throw Error(ErrorCode::argument, path_ + " is no pack: " + what + " at byte " + std::to_string(at_));
  }

  template <class T>
  T number() {
    T value;
    take(&value, sizeof value);
    return value;
  }
  template <class T>
  std::vector<T> array(uint64_t count) {
    if (count > left() / sizeof(T)) reject(std::to_string(count) + " elements announced and the file ends");
    std::vector<T> list(count);
    take(list.data(), count * sizeof(T));
    return list;
  }
  std::string text() {
    const auto bytes = array<char>(number<uint32_t>());
    return {bytes.begin(), bytes.end()};
  }
  // Of things that take at least one byte each, so that a damaged count cannot ask for much memory.
  uint32_t count() {
    const auto n = number<uint32_t>();
    if (n > left()) reject(std::to_string(n) + " entries announced and the file ends");
    return n;
  }
  bool atEnd() const { return left() == 0; }

 private:
  uint64_t left() const { return bytes_.size() - at_; }
  void take(void *into, uint64_t size) {
    if (size > left()) reject("the file ends");
    if (size) std::memcpy(into, bytes_.data() + at_, size);
    at_ += size;
  }

  std::string path_;
  std::vector<char> bytes_;
  uint64_t at_ = 0;
};

Check readCheck(Reader &reader) {
  Check check{};
  check.region = reader.number<uint32_t>();
  const auto dtype = reader.number<uint32_t>();
  if (dtype > static_cast<uint32_t>(DType::u8)) reader.reject("a check of unknown dtype " + std::to_string(dtype));
  check.dtype = static_cast<DType>(dtype);
  check.offset = reader.number<uint64_t>();
  check.count = reader.number<uint64_t>();
  const auto kind = reader.number<uint32_t>();
  if (kind > static_cast<uint32_t>(Bound::step)) reader.reject("a check of unknown kind " + std::to_string(kind));
  check.kind = static_cast<Bound>(kind);
  check.factor = reader.number<double>();
  check.scale = reader.number<double>();
  if (check.kind == Bound::terms) check.terms = reader.array<float>(check.count);
  return check;
}

}  // namespace

std::vector<Case> readPack(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(ErrorCode::argument, "cannot read " + path);
  Reader reader(path, {std::istreambuf_iterator<char>(file), {}});
  const auto magic = reader.array<char>(sizeof kMagic - 1);
  if (std::memcmp(magic.data(), kMagic, magic.size()) != 0) reader.reject("it does not begin with GLREPLAY");
  const auto version = reader.number<uint32_t>();
  if (version != kVersion) reader.reject("version " + std::to_string(version));
  std::vector<Case> cases(reader.count());
  for (Case &item : cases) {
    item.name = reader.text();
    item.steps = reader.number<uint32_t>();
    item.program = reader.array<uint8_t>(reader.number<uint64_t>());
    item.inputs = reader.array<uint8_t>(reader.number<uint64_t>());
    item.contents.resize(reader.count());
    for (auto &content : item.contents) content = reader.array<uint8_t>(reader.number<uint64_t>());
    const uint32_t checks = reader.count();
    for (uint32_t i = 0; i < checks; i++) item.checks.push_back(readCheck(reader));
  }
  if (!reader.atEnd()) reader.reject("bytes follow the last case");
  return cases;
}

}  // namespace gradline::replay
