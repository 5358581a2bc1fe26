// What the library has promised itself, line by line: which entries of the suite show it and what they have to reach. Ratios are
// ours over the peer's, above 1 we are faster. The table of docs/performance.md is made of these lines by report.ts.

export interface Target {
  /** Stable name, under which limits.json keeps what limits the line. */
  readonly id: string
  readonly what: string
  /** Names of its entries. */
  readonly entries: RegExp
  /** In words, for the table. */
  readonly target: string
  /** Every entry at least this share of its ceiling. */
  readonly share?: number
  /** Every entry at most this value. */
  readonly most?: number
  /** Every entry at least so many times as fast as the best of the peers of these names. */
  readonly ratios?: readonly { readonly peers: RegExp; readonly least: number }[]
  /** Geometric mean over all entries: against the best peer of each entry, and against each single one. */
  readonly means?: { readonly peers: RegExp; readonly best: number; readonly each: number }
}

const libraries = /^(oneDNN|OpenBLAS|BLIS)/
const pytorch = /^PyTorch/
const peer = (least: number): Pick<Target, 'ratios'> => ({ ratios: [{ peers: pytorch, least }] })

export const targets: readonly Target[] = [
  {
    id: 'matmul squares',
    what: 'matmul 256 to 2048 squares, NN, NT, TN',
    entries: /^matmul (\d+)x\1x\1 /,
    target: '92 % of peak; 0.97x the best library',
    share: 0.92,
    ratios: [{ peers: libraries, least: 0.97 }],
  },
  {
    id: 'matmul training',
    what: 'matmul at training shapes, forward and both gradients',
    entries: /^matmul (?!(\d+)x\1x\1 )/,
    target: '0.97x the best library everywhere; geometric mean 1.0x the best, 1.1x each',
    ratios: [{ peers: libraries, least: 0.97 }],
    means: { peers: libraries, best: 1, each: 1.1 },
  },
  {
    id: 'conv forward',
    what: 'conv 3x3 64 to 64, 32x32, batch 16, forward',
    entries: /^conv 3x3 64->64 .* forward$/,
    target: '90 % of peak',
    share: 0.9,
  },
  {
    id: 'conv gradients',
    what: 'the same, both gradients',
    entries: /^conv 3x3 64->64 .* both gradients$/,
    target: '85 % of peak',
    share: 0.85,
  },
  {
    id: 'conv few channels',
    what: 'conv with 1, 3, 16, 32 input channels, forward and backward (with 1 and 3: of the filter)',
    entries:
      /^conv .* (1|3|16|32)->.* forward$|^conv .* (1|3)->.* filter gradient$|^conv .* (16|32)->.* both gradients$/,
    target: '2x peer',
    ...peer(2),
  },
  {
    id: 'batch norm small',
    what: 'batch norm + relu 512x1024, forward and backward',
    entries: /^batch norm \+ relu 512x1024/,
    target: "at most 0.4x peer's time",
    ...peer(1 / 0.4),
  },
  {
    id: 'batch norm large',
    what: 'batch norm + relu 64x32x32x64, forward and backward',
    entries: /^batch norm \+ relu 64x32x32x64/,
    target: "at most 0.6x peer's time; 80 % of copy bandwidth in its 8 passes (50 % at the 20 bytes counted)",
    share: (0.8 * 20) / 32,
    ...peer(1 / 0.6),
  },
  {
    id: 'updates',
    what: 'Adam and momentum over 10 M parameters',
    entries: /^(adam|momentum) 10 M/,
    target: '85 % of update bandwidth; never behind peer',
    share: 0.85,
    ...peer(1),
  },
  {
    id: 'step 10-16-2',
    what: '10-16-2, batch 32, SGD',
    entries: /^step 10-16-2 /,
    target: 'at most 4 us a step; 30x peer',
    most: 4,
    ...peer(30),
  },
  {
    id: 'step 4-32-16-4',
    what: '4-32-16-4, batch 64, Adam',
    entries: /^step 4-32-16-4 /,
    target: 'at most 10 us a step; 30x peer',
    most: 10,
    ...peer(30),
  },
  {
    id: 'step 784-128-10',
    what: '784-128-10, batch 32, Adam',
    entries: /^step 784-128-10 /,
    target: "at most 0.4x peer's time",
    ...peer(1 / 0.4),
  },
  {
    id: 'step 784-512-256-10',
    what: '784-512-256-10, batch 128, Adam',
    entries: /^step 784-512-256-10 b128 adam/,
    target: '1.5x peer',
    ...peer(1.5),
  },
  {
    id: 'step 784-512-256-10 batch norm',
    what: 'the same with batch norm and momentum',
    entries: /^step 784-512-256-10 batch norm/,
    target: '1.6x peer',
    ...peer(1.6),
  },
  {
    id: 'step 784-8x256-10',
    what: '784, eight hidden 256 with batch norm, batch 512, Adam',
    entries: /^step 784-8x256-10 /,
    target: '1.5x peer',
    ...peer(1.5),
  },
  {
    id: 'step 1024-4096-4096-1024-10',
    what: '1024-4096-4096-1024-10, batch 512, momentum',
    entries: /^step 1024-4096/,
    target: '1.15x peer',
    ...peer(1.15),
  },
  {
    id: 'step MNIST',
    what: 'the convolutional network of `npm start`, batch 100, Adam',
    entries: /^step MNIST/,
    target: '3x peer',
    ...peer(3),
  },
  {
    id: 'step VGG',
    what: 'VGG-like with batch norm on 32x32x3, batch 64, momentum',
    entries: /^step VGG.* momentum$/,
    target: '1.1x peer',
    ...peer(1.1),
  },
  {
    id: 'step VGG fast',
    what: "the same of class 'fast'",
    entries: /^step VGG.* fast$/,
    target: '1.4x peer with Winograd',
    ...peer(1.4),
  },
  {
    id: 'inference VGG',
    what: 'inference of that network, batch 1 and 64',
    entries: /^inference VGG.* b\d+$/,
    target: '1.0x onnxruntime-node; 1.1x PyTorch',
    ratios: [
      { peers: /^onnxruntime/, least: 1 },
      { peers: pytorch, least: 1.1 },
    ],
  },
  {
    id: 'inference VGG fast',
    what: "the same of class 'fast'",
    entries: /^inference VGG.* fast$/,
    target: '1.3x onnxruntime-node and PyTorch with Winograd',
    ratios: [
      { peers: /^onnxruntime/, least: 1.3 },
      { peers: pytorch, least: 1.3 },
    ],
  },
  {
    id: 'activations VGG',
    what: 'memory of its activations',
    entries: /^activations of step VGG/,
    target: "at most 0.65x PyTorch's peak",
    ...peer(1 / 0.65),
  },
  {
    id: 'fit',
    what: '`fit()` against the bare native loop',
    entries: /^step inside fit\(\)/,
    target: '98 % of its throughput',
    share: 0.98,
  },
]
