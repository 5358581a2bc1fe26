# How PyTorch does the tasks of bench/peers/task.ts: the modes of each, and a function that does it once. Written as its
# documentation recommends: gradients dropped instead of zeroed, batches taken by index_select, no value read back to Python.

import itertools
import json
import os
import tempfile

import torch
import torch.nn.functional as F

recent = int(torch.__version__.split(".")[0]) >= 2
layouts = {"channels-last": torch.channels_last, "contiguous": torch.contiguous_format}


def pattern(*shape):
    """The same numbers as pattern() of task.ts."""
    size = 1
    for n in shape:
        size *= n
    values = (torch.arange(size, dtype=torch.int64) * 7919) % 1009
    return (values.double() / 1008 - 0.5).float().reshape(shape)


def image(layout, batch, height, width, channels):
    """An image given as NHWC, in the layout asked for."""
    x = pattern(batch, height, width, channels).permute(0, 3, 1, 2)
    return x.contiguous(memory_format=layouts[layout])


def knows(task):
    return task["kind"] in builders or task["kind"] == "memory"


def modes(task, compiled):
    """Names of the ways to do a task; parts of a name are joined by commas."""
    kind = task["kind"]
    images = kind == "conv" or len(task.get("input", task.get("shape", []))) > 2
    layout = ["channels-last", "contiguous"] if images else [""]
    if kind == "update":
        ways = ["single", "foreach"] + (["fused"] if recent else [])
    elif kind == "step":
        ways = ["single", "foreach"] + (["fused"] if recent else [])
        if recent and compiled:
            ways.append("fused, compiled")
    elif kind == "inference":
        ways = ["eager", "traced"] + (["compiled"] if recent and compiled else [])
    elif kind == "batchNorm":
        ways = ["eager"] + (["compiled"] if recent and compiled else [])
    else:
        ways = ["eager"]
    return [", ".join(part for part in parts if part) for parts in itertools.product(layout, ways)]


def layout_of(mode):
    return "channels-last" if "channels-last" in mode else "contiguous"


def compiled(mode, function):
    if "compiled" not in mode:
        return function
    from torch import _dynamo

    _dynamo.reset()
    return torch.compile(function)


def build_matmul(task, mode):
    a = pattern(task["k"], task["m"]).t() if task["form"] == "TN" else pattern(task["m"], task["k"])
    b = pattern(task["n"], task["k"]).t() if task["form"] == "NT" else pattern(task["k"], task["n"])
    out = torch.empty(task["m"], task["n"])
    return lambda: torch.mm(a, b, out=out)


def build_conv(task, mode):
    kernel, side = task["kernel"], task["side"]
    padding = kernel // 2 if task["padding"] == "same" else 0
    out = side + 2 * padding - kernel + 1
    layout = layout_of(mode)
    x = image(layout, task["batch"], side, side, task["from"])
    w = pattern(kernel, kernel, task["from"], task["to"]).permute(3, 2, 0, 1).contiguous(memory_format=layouts[layout])
    dy = image(layout, task["batch"], out, out, task["to"])
    part = task["part"]

    def forward():
        with torch.no_grad():
            return F.conv2d(x, w, padding=padding)

    wanted = [part != "filter gradient", part != "image gradient", False]

    def backward():
        return torch.ops.aten.convolution_backward(
            dy, x, w, None, [1, 1], [padding, padding], [1, 1], False, [0, 0], 1, wanted
        )

    return forward if part == "forward" else backward


def build_batch_norm(task, mode):
    shape = task["shape"]
    x = image(layout_of(mode), *shape) if len(shape) == 4 else pattern(*shape)
    dy = x.clone()
    x.requires_grad_()
    gamma = torch.full((shape[-1],), 0.5, requires_grad=True)
    beta = torch.full((shape[-1],), 0.1, requires_grad=True)
    forward = compiled(mode, lambda x, gamma, beta: F.relu(F.batch_norm(x, None, None, gamma, beta, True)))

    def once():
        x.grad = gamma.grad = beta.grad = None
        forward(x, gamma, beta).backward(dy)

    return once


def build_cross_entropy(task, mode):
    scores = pattern(task["rows"], task["classes"]).requires_grad_()
    labels = torch.arange(task["rows"]) % task["classes"]

    def once():
        scores.grad = None
        F.cross_entropy(scores, labels).backward()

    return once


def optimizer_of(name, parameters, mode):
    ways = {"foreach": "foreach" in mode}
    if "fused" in mode:
        ways = {"fused": True}
    rate = 1e-6
    if name == "adam":
        return torch.optim.Adam(parameters, lr=rate, **ways)
    return torch.optim.SGD(parameters, lr=rate, momentum=0.9 if name == "momentum" else 0, **ways)


def build_update(task, mode):
    parameter = torch.ones(task["parameters"], requires_grad=True)
    parameter.grad = torch.zeros(task["parameters"])
    optimizer = optimizer_of(task["optimizer"], [parameter], mode)

    def once():
        parameter.grad.fill_(1e-2)
        optimizer.step()

    return once


def network(task, folded=False):
    """The layers of a task with weights by pattern(), scaled as He et al. (2015)."""
    layers = []
    shape = list(task["input"])
    for name, *sizes in task["layers"]:
        if name == "dense":
            layer = torch.nn.Linear(shape[0], sizes[0])
            weight = pattern(shape[0], sizes[0]).t() * (24 / shape[0]) ** 0.5
            shape = [sizes[0]]
        elif name == "conv":
            units, kernel, padding = sizes
            layer = torch.nn.Conv2d(shape[-1], units, kernel, padding=kernel // 2 if padding == "same" else 0)
            fan_in = kernel * kernel * shape[-1]
            weight = pattern(kernel, kernel, shape[-1], units).permute(3, 2, 0, 1) * (24 / fan_in) ** 0.5
            lost = 0 if padding == "same" else kernel - 1
            shape = [shape[0] - lost, shape[1] - lost, units]
        elif name == "batchNorm":
            if folded:
                scale = (1 + 1e-5) ** -0.5
                with torch.no_grad():
                    layers[-1].weight.mul_(scale)
                continue
            layer = (torch.nn.BatchNorm1d if len(shape) == 1 else torch.nn.BatchNorm2d)(shape[-1])
        elif name == "relu":
            layer = torch.nn.ReLU()
        elif name == "maxPool":
            layer = torch.nn.MaxPool2d(sizes[0])
            shape = [shape[0] // sizes[0], shape[1] // sizes[0], shape[2]]
        elif name == "globalAveragePool":
            layer = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
            shape = [shape[2]]
        elif name == "flatten":
            layer = torch.nn.Flatten()
            shape = [shape[0] * shape[1] * shape[2]]
        if name in ("dense", "conv"):
            with torch.no_grad():
                layer.weight.copy_(weight)
                layer.bias.zero_()
        layers.append(layer)
    return torch.nn.Sequential(*layers)


def inputs_of(task, count, layout):
    return image(layout, count, *task["input"]) if len(task["input"]) == 3 else pattern(count, *task["input"])


def build_step(task, mode):
    layout = layout_of(mode)
    samples, batch = task["samples"], task["batch"]
    inputs = inputs_of(task, samples, layout)
    labels = torch.arange(samples) % task["classes"]
    model = network(task)
    if layout == "channels-last":
        model = model.to(memory_format=torch.channels_last)
    optimizer = optimizer_of(task["optimizer"], model.parameters(), mode)
    loss_of = compiled(mode, lambda x, y: F.cross_entropy(model(x), y))
    epoch = iter(())

    def once():
        nonlocal epoch
        rows = next(epoch, None)
        if rows is None:
            epoch = iter(torch.randperm(samples)[: samples // batch * batch].split(batch))
            rows = next(epoch)
        optimizer.zero_grad(set_to_none=True)
        loss_of(inputs.index_select(0, rows), labels.index_select(0, rows)).backward()
        optimizer.step()

    return once


def build_inference(task, mode):
    """Batch norm folded into the convolution before it, as by torch.nn.utils.fusion."""
    x = inputs_of(task, task["batch"], layout_of(mode))
    model = network(task, folded=True).eval()
    if layout_of(mode) == "channels-last":
        model = model.to(memory_format=torch.channels_last)
    with torch.no_grad():
        if "traced" in mode:
            model = torch.jit.optimize_for_inference(torch.jit.trace(model, x))
        if "compiled" in mode:
            from torch._inductor import config

            config.freezing = True
            model = compiled(mode, model)

    # What was traced or frozen may have been made for no_grad and not for inference_mode.
    guard = torch.inference_mode if mode.endswith("eager") else torch.no_grad

    def once():
        with guard():
            return model(x)

    return once


builders = {
    "matmul": build_matmul,
    "conv": build_conv,
    "batchNorm": build_batch_norm,
    "crossEntropy": build_cross_entropy,
    "update": build_update,
    "step": build_step,
    "inference": build_inference,
}


def build(task, mode):
    return builders[task["kind"]](task, mode)


def check(task):
    """The result of a task as a flat list, images as NHWC, for comparison with ours."""
    result = build(task, modes(task, False)[-1])()
    if isinstance(result, tuple):
        result = next(part for part in result if part is not None)
    if task["kind"] == "conv":
        filters = task["part"] == "filter gradient"
        result = result.permute(2, 3, 1, 0) if filters else result.permute(0, 2, 3, 1)
    return result.flatten().tolist()


def activation_bytes(task):
    """
    Most bytes alive at once of what one step allocates, less those of the gradients of parameters, as the allocator's own
    record tells. Parameters, moments and data exist before; buffers inside of libraries are not seen.
    """
    task = {**task, "kind": "step"}
    best = None
    for mode in modes(task, False):
        once = build(task, mode)
        for _ in range(2):
            once()
        peak = peak_of(once)
        best = peak if best is None else min(best, peak)
    gradients = sum(4 * parameter.numel() for parameter in network(task).parameters())
    return best - gradients


def peak_of(once):
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        once()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "trace.json")
        profile.export_chrome_trace(path)
        with open(path) as file:
            events = json.load(file)
    events = events if isinstance(events, list) else events["traceEvents"]
    changes = sorted((e["ts"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]")
    if not changes:
        raise RuntimeError("this build keeps no record of allocations")
    alive = most = 0
    for _, change in changes:
        alive += change
        most = max(most, alive)
    return most
