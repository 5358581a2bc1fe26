// Asks every peer once whether it does the same work as we: small products, convolutions and a network whose numbers must
// agree. A peer that computes something else would win or lose for no reason.

import type { Tensor, Variable } from 'gradline'
import type { Library } from '../measure.js'
import type { Peers } from './peers.js'
import { layersOf, pattern, type Task } from './task.js'

type Inference = Extract<Task, { kind: 'inference' }>

const conv = { kind: 'conv', batch: 2, side: 6, kernel: 3, from: 3, to: 5, padding: 'same' } as const
const matmul = { kind: 'matmul', m: 5, k: 33, n: 7 } as const
const network: Inference = {
  kind: 'inference',
  input: [8, 8, 3],
  batch: 2,
  layers: [['conv', 6, 3, 'same'], ['batchNorm'], ['relu'], ['maxPool', 2], ['globalAveragePool'], ['dense', 4]],
}
const tasks: readonly Task[] = [
  ...(['NN', 'NT', 'TN'] as const).map((form) => ({ ...matmul, form })),
  ...(['forward', 'image gradient', 'filter gradient'] as const).map((part) => ({ ...conv, part })),
  network,
]

const value = (lib: Library, ...shape: number[]): Tensor =>
  lib.tensor(pattern(shape.reduce((size, n) => size * n, 1)), { shape })

async function ours(lib: Library, task: Task): Promise<ArrayLike<number>> {
  const { ops } = lib
  if (task.kind === 'matmul') {
    const { m, k, n, form } = task
    const [transposeA, transposeB] = [form === 'TN', form === 'NT']
    const a = transposeA ? value(lib, k, m) : value(lib, m, k)
    return ops.matmul(a, transposeB ? value(lib, n, k) : value(lib, k, n), { transposeA, transposeB }).data
  }
  if (task.kind === 'conv') {
    const { batch, side, kernel, from, to, padding, part } = task
    const [image, result] = [value(lib, batch, side, side, from), value(lib, batch, side, side, to)]
    const filter = value(lib, kernel, kernel, from, to)
    if (part === 'forward') return ops.conv2d(image, filter, { padding }).data
    if (part === 'image gradient') return ops.convTranspose2d(result, filter, { padding }).data
    const program = lib.record(() => {
      const [x, w, dy] = [image, filter, result].map(({ shape, data }) => lib.variable(shape, { value: data })) as [
        Variable,
        Variable,
        Variable,
      ]
      return lib.grad(ops.sum(ops.mul(ops.conv2d(x, w, { padding }), dy)), [w])[0] as Tensor
    })
    return program.runSync().data
  }
  const { input, layers, batch } = network
  const net = lib.model(input, layersOf(lib, layers))
  const weights = [...(await net.weights())].filter(([path]) => path.endsWith('.weight'))
  await net.setWeights(
    new Map(
      weights.map(([path, { shape, data }]) => {
        const scale = Math.sqrt(24 / shape.slice(0, -1).reduce((product, n) => product * n, 1))
        return [path, { data: pattern(data.length).map((weight) => weight * scale) }]
      }),
    ),
  )
  return (await net.predict(value(lib, batch, ...input))).data
}

/** @throws naming the peer whose numbers are others than ours. */
export async function checkPeers(lib: Library, peers: Peers): Promise<void> {
  for (const task of tasks) {
    const expected = await ours(lib, task)
    for (const { peer, values } of await peers.check(task)) {
      const wrong = values.findIndex((each, i) => !(Math.abs(each - (expected[i] as number)) < 1e-4))
      if (values.length === expected.length && wrong < 0) continue
      throw new Error(
        `${peer} computes something else: ${JSON.stringify(task)}, ${values.length} of ${expected.length} numbers, ` +
          `${values[wrong]} for ${expected[wrong]}`,
      )
    }
  }
}
