// From a data set to the batch of a step, inside the program: the data set is memory of the device, the rows of a step
// follow from its step state, and bytes become floats on the way into the first layer.

import type { DataArray, Dataset } from '../data/dataset.js'
import { Joined } from '../data/joined.js'
import type { Device } from '../device.js'
import { gather } from '../ops/move.js'
import { type Shuffle, sampleRows } from '../ops/random.js'
import { Region, type Tensor, type Variable } from '../tensor.js'

interface Resident {
  readonly inputs: Variable
  readonly labels: Variable | undefined
}

const residents = new WeakMap<Device, WeakMap<Dataset, Resident>>()

// A data set gets its place once per device, however many programs read it.
function resident(data: Dataset, on: Device): Resident {
  const here = residents.get(on) ?? new WeakMap<Dataset, Resident>()
  residents.set(on, here)
  let found = here.get(data)
  if (!found) {
    const place = (what: string, { shape, data: values }: DataArray): Variable =>
      new Region('data', `${data.name}.${what}`).add(`${data.name}.${what}`, shape, dtypeOf(values), values)
    found = { inputs: place('inputs', data.inputs), labels: data.labels ? place('labels', data.labels) : undefined }
    here.set(data, found)
  }
  return found
}

const dtypeOf = (values: DataArray['data']): 'uint8' | 'int32' | 'float32' =>
  values instanceof Uint8Array ? 'uint8' : values instanceof Int32Array ? 'int32' : 'float32'

/**
 * Records the choice of this step's rows and gives their inputs [batch, ...] and labels. Of joined data sets it gives all
 * parts by name, as inputs and as labels: the model takes its own, the loss what it needs.
 */
export function drawBatch(
  data: Dataset | Joined,
  batch: number,
  shuffle: Shuffle,
  on: Device,
  step?: Variable,
): { inputs: Tensor; labels: Tensor | undefined } {
  const rows = sampleRows(batch, data.length, shuffle, step)
  const draw = (from: Dataset): Tensor => gather(resident(from, on).inputs, rows, from.inputs.scale)
  if (data instanceof Joined) {
    const parts: unknown = Object.fromEntries(Object.entries(data.parts).map(([name, part]) => [name, draw(part)]))
    return { inputs: parts as Tensor, labels: parts as Tensor }
  }
  const { labels } = resident(data, on)
  return { inputs: draw(data), labels: labels && gather(labels, rows) }
}
