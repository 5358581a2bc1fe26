// From a data set to the batch of a step, inside the program: the data set is memory of the device, the rows of a step
// follow from its step state, and bytes become floats on the way into the first layer.

import type { DataArray, Dataset } from '../data/dataset.js'
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

/** Records the choice of this step's rows and gives their inputs [batch, ...] and labels. */
export function drawBatch(
  data: Dataset,
  batch: number,
  shuffle: Shuffle,
  on: Device,
  step?: Variable,
): { inputs: Tensor; labels: Tensor | undefined } {
  const { inputs, labels } = resident(data, on)
  const rows = sampleRows(batch, data.length, shuffle, step)
  return { inputs: gather(inputs, rows, data.inputs.scale), labels: labels && gather(labels, rows) }
}
