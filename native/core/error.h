// The one error type of the core: a code for programs, a text for people, and the op it happened in when there is one.
// The addon turns it into a JavaScript Error. It knows nothing of Node-API.
#pragma once
#include <cstdint>
#include <exception>
#include <string>
#include <utility>

namespace gradline {

enum class ErrorCode { argument, program, busy, memory, closed, fault, backend };

struct Error : std::exception {
  ErrorCode code;
  std::string text;
  int64_t op = -1;           // index in the program, -1: no op in particular
  std::string opName, site;  // site: layer path and line of the user who recorded the op
  int64_t completed = -1;    // steps finished before a run failed, -1: not a run

  Error(ErrorCode errorCode, std::string message) : code(errorCode), text(std::move(message)) {}
  const char *what() const noexcept override { return text.c_str(); }

  // The value of the JavaScript property `code`.
  const char *codeName() const noexcept {
    constexpr const char *kNames[] = {"GL_ARGUMENT", "GL_PROGRAM", "GL_BUSY",   "GL_MEMORY",
                                      "GL_CLOSED",   "GL_FAULT",   "GL_BACKEND"};
    return kNames[static_cast<int>(code)];
  }
};

}  // namespace gradline
