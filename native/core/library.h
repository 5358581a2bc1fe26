// Backends that are libraries of their own, opened by path when a device of theirs is first asked for, so that one core
// serves machines that have what they need and machines that have not.
#pragma once
#include <string>

#include "../abi.h"
#include "error.h"

namespace gradline {

// The table of a library that exports `extern "C" const gradline::Backend *gradline_backend()`. The library stays: its
// threads may outlive its devices. Throws Error (backend).
const Backend &loadBackend(const std::string &path);

}  // namespace gradline
