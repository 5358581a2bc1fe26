// The dialect of ../gpu.h for g++: every access goes through the detector of memory.h, threads are fibers. Included by
// gpu.h only; it holds no kernel.
#pragma once
#include <chrono>
#include <type_traits>

#include "copies.h"
#include "fibers.h"
#include "tensor.h"

#define GPU_DEVICE inline
#define GPU_UNROLL
#define GPU_SHARED(type, name, count) \
  static const char name##Key = 0;    \
  const ::gradline::cuda::Shared<type> name = ::gradline::cuda::Shared<type>::array(&name##Key, count)

namespace gradline::cuda {

// What p[i] gives: reading and writing it are the accesses.
template <class T>
class Place {
 public:
  Place(emulator::Buffer *buffer, T *at, const char *begin, const char *end)
      : buffer_(buffer), at_(at), begin_(begin), end_(end) {}

  operator std::remove_const_t<T>() const {
    std::remove_const_t<T> value{};
    if (emulator::access(*buffer_, at_, sizeof(T), false, begin_, end_)) std::memcpy(&value, at_, sizeof(T));
    return value;
  }
  const Place &operator=(const T &value) const {
    if (emulator::access(*buffer_, at_, sizeof(T), true, begin_, end_))
      std::memcpy(const_cast<std::remove_const_t<T> *>(at_), &value, sizeof(T));
    return *this;
  }
  const Place &operator=(const Place &other) const { return *this = static_cast<std::remove_const_t<T>>(other); }
  Place(const Place &) = default;
  const Place &operator+=(const T &value) const { return *this = static_cast<std::remove_const_t<T>>(*this) + value; }

 private:
  emulator::Buffer *buffer_;
  T *at_;
  const char *begin_, *end_;
};

// A pointer that knows the bounds of its operand. `shared` ones lie in the block's shared memory.
template <class T, bool shared>
class Pointer {
 public:
  Pointer() = default;
  Pointer(T *at, size_t bytes)
      : at_(at), begin_(reinterpret_cast<const char *>(at)), end_(reinterpret_cast<const char *>(at) + bytes) {}
  Pointer(std::nullptr_t) {}
  template <class U, class = std::enable_if_t<std::is_same_v<const U, T>>>
  Pointer(const Pointer<U, shared> &other) : at_(other.at_), begin_(other.begin_), end_(other.end_) {}

  static Pointer array(const void *key, size_t count) {
    return Pointer(reinterpret_cast<T *>(emulator::sharedArray(key, count * sizeof(T))), count * sizeof(T));
  }

  Place<T> operator[](int64_t i) const {
    if constexpr (shared) return Place<T>(&emulator::sharedBuffer(), at_ + i, begin_, end_);
    emulator::Buffer *buffer = emulator::find(begin_);
    if (buffer) return Place<T>(buffer, at_ + i, begin_, end_);
    static emulator::Buffer nowhere = {"memory that is no device buffer", nullptr, nullptr, {}};
    return Place<T>(&nowhere, at_ + i, nullptr, nullptr);  // no bounds hold it: refused and reported
  }
  Pointer operator+(int64_t i) const {
    Pointer moved = *this;
    moved.at_ += i;
    return moved;
  }
  // So many elements from i on, for who reads or writes them later.
  emulator::Stretch bytesAt(int64_t i, int64_t count) const {
    emulator::Buffer *buffer = shared ? &emulator::sharedBuffer() : emulator::find(begin_);
    char *const at = const_cast<char *>(reinterpret_cast<const char *>(at_ + i));
    return {buffer, at, static_cast<size_t>(count) * sizeof(T), begin_, end_};
  }
  explicit operator bool() const { return at_ != nullptr; }
  bool operator==(std::nullptr_t) const { return at_ == nullptr; }
  T *raw() const { return at_; }

 private:
  template <class, bool>
  friend class Pointer;

  T *at_ = nullptr;
  const char *begin_ = nullptr, *end_ = nullptr;
};

template <class T>
using Global = Pointer<T, false>;
template <class T>
using Shared = Pointer<T, true>;

template <class T>
Global<T> global(T *memory, size_t bytes) {
  return Global<T>(memory, bytes);
}
inline size_t bytesOf(DType dtype) { return dtype == DType::u8 ? 1 : dtype == DType::f64 ? 8 : 4; }
template <class T>
Global<T> global(const Tensor &tensor) {
  return Global<T>(static_cast<T *>(tensor.data), static_cast<size_t>(tensor.size) * bytesOf(tensor.dtype));
}

inline int thread() { return static_cast<int>(emulator::threadIndex()); }
inline int lane() { return thread() % 32; }
inline int warp() { return thread() / 32; }
inline int block() { return static_cast<int>(emulator::blockIndex(0)); }
inline int blockY() { return static_cast<int>(emulator::blockIndex(1)); }
inline int blockZ() { return static_cast<int>(emulator::blockIndex(2)); }

inline void barrier() { emulator::blockBarrier(); }

inline int blockOfCard() { return static_cast<int>(emulator::blockOfCard()); }
template <class Ask>
bool becomeBlock(int x, int y, int z, Ask ask) {
  emulator::blockBarrier();
  emulator::becomeBlock(static_cast<uint32_t>(x), static_cast<uint32_t>(y), static_cast<uint32_t>(z));
  if (thread() == 0) emulator::blockWord() = ask();
  emulator::blockBarrier();
  return emulator::blockWord() != 0;
}
struct Arrival {
  bool isLast;
};
inline Arrival gridArrive(Meeting *, int) { return {emulator::gridBarrier() == emulator::blockOfCard()}; }
inline void gridLeave(Meeting *, const Arrival &) { emulator::gridBarrier(); }
inline void gridBarrier(Meeting *, int) { emulator::gridBarrier(); }
template <class T>
const T &recordAt(const Shared<uint32_t> &words, uint32_t word) {
  return *reinterpret_cast<const T *>((words + word).raw());
}
template <class T>
T shuffleXor(T value, int mask) {
  emulator::exchange(&value, sizeof value, emulator::threadIndex() ^ static_cast<uint32_t>(mask), mask);
  return value;
}
template <class T>
T shuffleFrom(T value, int lane) {
  emulator::exchange(&value, sizeof value, static_cast<uint32_t>(lane), 1000);
  return value;
}
inline bool anyInWarp(bool value) { return emulator::ballot(value) != 0; }

struct Float4 {
  float v[4];
};
template <class P>
Float4 load4(const P &p, int i) {
  if (reinterpret_cast<uintptr_t>((p + i).raw()) % 16 != 0)
    emulator::report("load of four off alignment", "", std::to_string(i));
  return {{p[i], p[i + 1], p[i + 2], p[i + 3]}};
}
template <class P>
void store4(const P &p, int i, const Float4 &q) {
  if (reinterpret_cast<uintptr_t>((p + i).raw()) % 16 != 0)
    emulator::report("store of four off alignment", "", std::to_string(i));
  for (int k = 0; k < 4; k++) p[i + k] = q.v[k];
}

template <class P, class Q>
void copyLater(const P &to, int i, const Q &from, int at) {
  emulator::copyLater(to.bytesAt(i, 1), from.bytesAt(at < 0 ? 0 : at, 1), at < 0);
}
template <class P, class Q>
void copyLater4(const P &to, int i, const Q &from, int at) {
  emulator::copyLater(to.bytesAt(i, 4), from.bytesAt(at < 0 ? 0 : at, 4), at < 0);
}
inline void commitCopies() { emulator::commitCopies(); }
template <int groups>
void waitCopies() {
  emulator::waitCopies(groups);
}

// As the card does it: infinities and NaN keep their words, but for the bits that are cut off.
inline uint32_t roundedToTf32(float x) {
  uint32_t word;
  std::memcpy(&word, &x, sizeof word);
  if (fabsf(x) < INFINITY) word += 0x1000;  // half of the last bit that stays; an overflow is an infinity
  return word & 0xffffe000;
}
inline uint32_t roundedToBf16(float first, float second) {
  const auto half = [](float x) -> uint32_t {
    uint32_t word;
    std::memcpy(&word, &x, sizeof word);
    if (x != x) return 0x7fff;
    return (word + 0x7fff + (word >> 16 & 1)) >> 16;
  };
  return half(first) | half(second) << 16;
}
inline void multiplyTf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emulator::multiply(c, a, b, emulator::Operands::tf32);
}
inline void multiplyBf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emulator::multiply(c, a, b, emulator::Operands::bf16);
}

inline double cosOfTurns(double u) { return cos(6.283185307179586476925 * u); }
inline double sinOfTurns(double u) { return sin(6.283185307179586476925 * u); }

inline uint64_t nanoseconds() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(since).count());
}

inline uint64_t loadWhole(const void *p) {
  uint64_t value;
  std::memcpy(&value, p, sizeof value);
  return value;
}
inline void storeWhole(void *p, uint64_t value) { std::memcpy(p, &value, sizeof value); }

// Fibers switch at barriers only, so nobody else runs meanwhile.
template <class Body>
void exclusive(uint32_t *, Body body) {
  body();
}

template <class Kernel>
struct Argument {
  const int32_t *guard;
  Kernel kernel;
};

template <class Kernel>
void entry(const void *memory) {
  const Argument<Kernel> &argument = *static_cast<const Argument<Kernel> *>(memory);
  if (argument.guard != nullptr && *argument.guard != 0) return;
  argument.kernel.run();
}

}  // namespace gradline::cuda
