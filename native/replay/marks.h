// Functions that callgrind finds by name: --toggle-collect=gradline_replay_step,
// --dump-after=gradline_replay_case_done. In a file of their own, so that the compiler can neither inline them nor make
// copies of other names.
#pragma once

extern "C" {

// Calls run(arguments).
void gradline_replay_step(void (*run)(const void *), const void *arguments);

// Does nothing: a case has been counted.
void gradline_replay_case_done();
}
