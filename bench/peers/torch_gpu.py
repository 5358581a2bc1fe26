"""What PyTorch needs on a card for the tasks of scripts/gpu.mjs: eager, compiled, and the whole step as one CUDA graph.
Prints one JSON object: seconds of the best round and of the median one. Float32 without tf32, as gradline computes unless
asked, but for the tasks that name another class: tf32 is allowed there, or tensors are bfloat16, which halves their bytes too.
"""
import json
import statistics
import sys
import time

import torch

device = torch.device("cuda")


def timed(step, steps, rounds=5):
    """Seconds of one step: `steps` of them without waiting in between, then one wait."""
    for _ in range(min(steps, 10)):
        step()
    torch.cuda.synchronize()
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(steps):
            step()
        torch.cuda.synchronize()
        seconds.append((time.perf_counter() - began) / steps)
    return {"best": min(seconds), "median": statistics.median(seconds)}


def mlp(mode, batch=128):
    """Training steps of 784-128-10 with Adam on data that stays on the card."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)).to(device)
    adam = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True, capturable=True)
    x = torch.rand(batch, 784, device=device)
    y = torch.randint(0, 10, (batch,), device=device)
    loss_of = torch.nn.CrossEntropyLoss()

    def forward():
        return loss_of(net(x), y)

    run = torch.compile(forward) if mode == "compiled" else forward

    def step():
        adam.zero_grad(set_to_none=mode != "graph")
        run().backward()
        adam.step()

    if mode != "graph":
        return timed(step, 300)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(5):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return timed(graph.replay, 300)


def adam(count=10_000_000):
    weight = torch.nn.Parameter(torch.rand(count, device=device))
    weight.grad = torch.rand(count, device=device)
    rule = torch.optim.Adam([weight], fused=True)
    return timed(rule.step, 50)


def allow_tf32(allowed):
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def typed(numerics):
    allow_tf32(numerics == "tf32")
    return torch.bfloat16 if numerics == "bf16" else torch.float32


def product(n, numerics):
    dtype = typed(numerics)
    a, b, out = (torch.rand(n, n, device=device).to(dtype) for _ in range(3))
    return timed(lambda: torch.mm(a, b, out=out), 20)


def conv(numerics, images=64, side=32, channels=128):
    dtype = typed(numerics)
    torch.backends.cudnn.benchmark = True
    layout = {"device": device, "dtype": dtype, "memory_format": torch.channels_last}
    x = torch.rand(images, channels, side, side).to(**layout)
    w = torch.rand(channels, channels, 3, 3).to(**layout)
    return timed(lambda: torch.nn.functional.conv2d(x, w, padding=1), 20)


def copy(count):
    a, b = torch.rand(count, device=device), torch.empty(count, device=device)
    return timed(lambda: b.copy_(a), 20)


results = {"torch": torch.__version__, "cuda": torch.version.cuda, "card": torch.cuda.get_device_name()}
tasks = {
    "copy 256 MB": lambda: copy(1 << 26),
    **{
        f"matmul {n} {numerics}": lambda n=n, numerics=numerics: product(n, numerics)
        for n in (512, 2048, 8192)
        for numerics in ("fp32", "tf32", "bf16")
    },
    **{f"conv 3x3 128 {numerics}": lambda numerics=numerics: conv(numerics) for numerics in ("fp32", "tf32", "bf16")},
    "adam 10M": adam,
    "mlp eager": lambda: mlp("eager"),
    "mlp graph": lambda: mlp("graph"),
    "mlp compiled": lambda: mlp("compiled"),
}
for name, task in tasks.items():
    allow_tf32(False)
    try:
        results[name] = task()
    except Exception as error:  # one task that this installation cannot do must not hide the others
        results[name] = {"error": str(error).splitlines()[0]}
json.dump(results, sys.stdout)
