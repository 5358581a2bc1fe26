# A peer for everything: PyTorch, in the modes that its own documentation recommends. Answers questions of one JSON line each
# on stdin with one line on stdout; between them it sleeps in a read. The tasks are those of bench/peers/task.ts; how one is
# computed stands in torch_tasks.py. It is for comparison only.

import json
import sys
import time

import torch

import torch_tasks

opened = {}
counts = {}


def ready(question):
    """The function that does the task once in the mode asked for, built at the first question."""
    key = json.dumps([question["task"], question["mode"], question["threads"]])
    if key not in opened:
        if opened and json.loads(next(iter(opened)))[0] != question["task"]:
            opened.clear()
            counts.clear()
        opened[key] = torch_tasks.build(question["task"], question["mode"])
        counts[key] = 1
        # Once in any case: memory, caches of kernels, what is compiled at the first call.
        began = time.perf_counter()
        for _ in range(3):
            opened[key]()
            if time.perf_counter() - began > 0.05:
                break
    return key, opened[key]


def run(once, iterations):
    began = time.perf_counter()
    for _ in range(iterations):
        once()
    return time.perf_counter() - began


def timed(question):
    key, once = ready(question)
    wanted = question["seconds"]
    took = run(once, counts[key])
    # What calibrates warms up as well; a run that is long enough is the answer.
    while took < wanted:
        counts[key] = int(counts[key] * min(10, 1.1 * wanted / took)) + 1
        took = run(once, counts[key])
    return {"iterations": counts[key], "seconds": took}


def answer(question):
    torch.set_num_threads(question["threads"])
    task = question["task"]
    if not torch_tasks.knows(task):
        return {"unsupported": task["kind"]}
    if question["ask"] == "modes":
        return {"modes": torch_tasks.modes(task, question["compile"])}
    if question["ask"] == "check":
        return {"values": torch_tasks.check(task)}
    if question["ask"] == "memory":
        return {"bytes": torch_tasks.activation_bytes(task)}
    return timed(question)


# Threads made later inherit it.
torch.set_flush_denormal(True)
print(json.dumps({"version": "PyTorch " + torch.__version__}), flush=True)
for line in sys.stdin:
    try:
        reply = answer(json.loads(line))
    except Exception as error:
        reply = {"unsupported": str(error).strip().split("\n")[0][:200]}
    print(json.dumps(reply), flush=True)
