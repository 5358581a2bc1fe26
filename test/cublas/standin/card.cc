// The stand-in on the emulated card: whose memory and streams it is given, when its work is done, what a capture
// forbids.
#include "standin.h"

namespace standin {

bool isStream(void *stream) {
  if (!stream) return true;
  return state().card ? state().card->isStream(stream) : state().streams.count(stream) > 0;
}

bool inCapture(const char *name) {
  if (!state().card || !state().card->isCapturing()) return false;
  violation(std::string(name) + " in a capture");
  return true;
}

int onStream(void *stream, std::function<void()> work) {
  if (!state().card) return work(), 0;
  auto &all = state().work;
  all.push_back(std::make_unique<std::function<void()>>(std::move(work)));
  return state().card->enqueue(
      stream, [](void *what) { (*static_cast<std::function<void()> *>(what))(); }, all.back().get());
}

namespace {

// Whether f holds for every column of the matrix.
template <class F>
bool allColumns(const Matrix &m, F f) {
  const size_t size = sizeOf(m.type);
  for (int64_t column = 0; column < m.columns; column++) {
    if (!f(static_cast<char *>(m.at) + static_cast<size_t>(column * m.ld) * size, static_cast<size_t>(m.rows) * size))
      return false;
  }
  return true;
}

}  // namespace

bool isDefined(const Matrix &m) { return !state().card || allColumns(m, state().card->isDefined); }

void define(const Matrix &m) {
  if (!state().card) return;
  allColumns(m, [](void *at, size_t bytes) {
    state().card->define(at, bytes);
    return true;
  });
}

}  // namespace standin

EXPORT void standin_attach(const EmulatedCard *card) { standin::state().card = card; }
EXPORT standin::State *standin_state() { return &standin::state(); }
