// cuBLAS and cuBLASLt for JavaScript by themselves, as `gradline/cublas`: memory on the device and matrix products on it. No
// tensor, no graph, no kernel of this library; training on CUDA reaches the same binding by another way. Loading this module
// loads nothing native: open() does, and says what is missing.

import { GradlineError } from './errors.js'
import { cublasAddon, type NativeCublasDevice, type NativeDeviceBuffer, useMeasuredPlans } from './native.js'

/** Element types of `gemmEx` and `ltMatmul`. The 16-bit ones travel as `Uint16Array`. */
export type CublasType = 'float32' | 'float16' | 'bfloat16' | 'float64'

/** Memory on the device, of `alloc`. */
export interface DeviceBuffer {
  /** 0 when it has been freed. */
  readonly bytes: number
  /** Copies to the device, at `byteOffset` (default 0) of this memory; waits for work that was queued before. */
  write(data: NodeJS.TypedArray | ArrayBuffer, byteOffset?: number): void
  /** Copies from the device into `into`, which it returns; waits for work that was queued before. */
  read<T extends NodeJS.TypedArray | ArrayBuffer>(into: T, byteOffset?: number): T
  free(): void
}

/**
 * c = alpha * op(a) * op(b) + beta * c with row-major op(a) [m, k], op(b) [k, n], c [m, n].
 * With `beta` 0 what c holds is not read.
 */
export interface Gemm {
  readonly m: number
  readonly n: number
  readonly k: number
  readonly a: DeviceBuffer
  readonly b: DeviceBuffer
  readonly c: DeviceBuffer
  /** Elements before the matrix in its memory; default 0. */
  readonly offsetA?: number
  readonly offsetB?: number
  readonly offsetC?: number
  /** a is stored as [k, m]. */
  readonly transposeA?: boolean
  /** b is stored as [n, k]. */
  readonly transposeB?: boolean
  /** Elements between rows as stored; default: rows without gaps. */
  readonly lda?: number
  readonly ldb?: number
  readonly ldc?: number
  /** Default 1. */
  readonly alpha?: number
  /** Default 0. */
  readonly beta?: number
}

export interface GemmEx extends Gemm {
  /** Of a and b; default float32. Products of 16-bit types are summed in float32. */
  readonly type?: CublasType
  /** Of c; default `type`. float32 is possible for 16-bit types. */
  readonly typeC?: CublasType
  /** `fp32` (default) multiplies float32 as it is; `tf32` and `bf16` round it to 11 or 8 significant bits for tensor cores. */
  readonly numerics?: 'fp32' | 'tf32' | 'bf16'
}

export interface GemmStridedBatched extends GemmEx {
  readonly batch: number
  /** Elements between the matrices; default: without gaps. 0 shares an operand. */
  readonly strideA?: number
  readonly strideB?: number
  readonly strideC?: number
}

/**
 * What happens to x = alpha * op(a) * op(b) + beta * c before it is stored. `vector` and `aux` are fields of LtMatmul.
 * - `bias`, `relu`, `reluBias`, `gelu`, `geluBias`: x + vector [n], then the function. relu makes NaN 0; gelu is the tanh form
 * - `reluAux`, `reluAuxBias`: also writes to aux one bit per element, 1 where relu's input is above 0
 * - `geluAux`, `geluAuxBias`: also writes gelu's input to aux, in the type of c
 * - `dRelu`, `dGelu`: x times the derivative at what aux holds; `dReluBgrad`, `dGeluBgrad`: also vector [n] = sums of c over m
 * - `bgradA`: c is x, vector [m] = sums of op(a) over k; `bgradB`: vector [n] = sums of op(b) over k
 */
export type Epilogue =
  | 'none'
  | 'bias'
  | 'relu'
  | 'reluBias'
  | 'reluAux'
  | 'reluAuxBias'
  | 'gelu'
  | 'geluBias'
  | 'geluAux'
  | 'geluAuxBias'
  | 'dRelu'
  | 'dReluBgrad'
  | 'dGelu'
  | 'dGeluBgrad'
  | 'bgradA'
  | 'bgradB'

export interface LtMatmul extends GemmEx {
  /** Default `none`. The others are for a single product. */
  readonly epilogue?: Epilogue
  /** Bias or bias gradient, in the type of c. */
  readonly vector?: DeviceBuffer
  readonly offsetVector?: number
  readonly aux?: DeviceBuffer
  /** In elements of c; in bytes for the mask of relu. The place must be aligned to 16 bytes. */
  readonly offsetAux?: number
  /**
   * Elements between rows of aux, at least n: bits for the mask of relu (a multiple of 128), else a multiple of 8. Default:
   * the smallest. The mask takes m * auxStride / 8 bytes, the input of gelu m * auxStride elements.
   */
  readonly auxStride?: number
  /** The library's guesses in order, from 0. Default: what `tune` found, else 0. */
  readonly algorithm?: number
  readonly batch?: number
  readonly strideA?: number
  readonly strideB?: number
  readonly strideC?: number
}

export interface Tune extends LtMatmul {
  /** c as another way of computing gives it, e.g. `sgemm`; an algorithm that differs from it is never chosen. */
  readonly expected: DeviceBuffer
  readonly offsetExpected?: number
  /** The same for a `vector` that is written. */
  readonly expectedVector?: DeviceBuffer
  readonly offsetExpectedVector?: number
  /** Of the largest magnitude in `expected`; default 1e-5, with tf32 or bf16 1e-2. */
  readonly tolerance?: number
  /** How many of the library's guesses are measured; default and most 16. */
  readonly candidates?: number
  /** Timed runs of each, of which the fastest counts; default 10. */
  readonly repetitions?: number
}

export interface LtPlan {
  readonly workspaceBytes: number
  /** The algorithm was found by `tune`, now or, with a cache file, by an earlier process. */
  readonly measured: boolean
  /** Algorithms that the library offers, at most 16. */
  readonly candidates: number
}

export interface CublasOptions {
  /** A folder with libcublas.so and libcublasLt.so, looked at first. Counts until the library is found once. */
  readonly folder?: string
  /** Default 0. */
  readonly device?: number
  /** What products may use beside their operands; default 32 MiB. */
  readonly workspaceBytes?: number
  /** Keeps what `tune` measures, as JSON lines; for all of the process. Lines that are damaged are ignored with a warning. */
  readonly cacheFile?: string
}

/** What was found, without opening a device. */
export interface CublasLibrary {
  readonly version: string
  readonly ltVersion: number
  readonly path: string
  /** Why no device can be opened: there is no driver, or it is too old. */
  readonly driverError?: string
}

/** Finds the libraries; throws an error that lists what was looked for. */
export function load(folder?: string): CublasLibrary {
  const { found, error, ...library } = translate(() => cublasAddon().load(folder))
  if (!found) {
    throw new GradlineError('missing', error ?? 'cuBLAS was not found', {
      fix: 'Install CUDA 13 or 12, set CUDA_HOME, or name the folder of libcublas.so',
    })
  }
  return library as CublasLibrary
}

/** A device with one stream. Calls return when the work is queued; `read`, `write` and `synchronize` wait for it. */
export class Cublas {
  readonly library: CublasLibrary
  /** Name of the device. */
  readonly name: string
  /** Compute capability, 90 for 9.0. */
  readonly capability: number
  readonly #device: NativeCublasDevice

  constructor(options: CublasOptions = {}) {
    this.library = load(options.folder)
    const { driverError } = this.library
    if (driverError !== undefined) throw new GradlineError('missing', driverError)
    this.#device = translate(() => {
      if (options.cacheFile !== undefined) useMeasuredPlans(options.cacheFile)
      return new (cublasAddon().Device)(options)
    })
    this.name = this.#device.name
    this.capability = this.#device.capability
  }

  /** Bytes that `alloc` has given out and that are not freed. */
  get bytes(): number {
    return this.#device.bytes
  }

  /** Memory with undefined contents, freed by `free`, by `close`, or when nothing refers to it. */
  alloc(bytes: number): DeviceBuffer {
    return buffer(translate(() => this.#device.alloc(bytes)))
  }

  /** float32, exact. */
  sgemm(product: Gemm): void {
    translate(() => this.#device.sgemm(native(product)))
  }

  gemmEx(product: GemmEx): void {
    translate(() => this.#device.gemmEx(native(product)))
  }

  gemmStridedBatched(product: GemmStridedBatched): void {
    translate(() => this.#device.gemmStridedBatched(native(product)))
  }

  /** By cuBLASLt, with an epilogue. Never by an algorithm that adds partial sums in place, so that bits repeat. */
  ltMatmul(product: LtMatmul): LtPlan {
    return translate(() => this.#device.ltMatmul(native(product)))
  }

  /**
   * Measures the algorithms for a product on these operands; `ltMatmul` of the same shapes then takes the fastest that gave
   * what was expected. c is read if `beta` is not 0 and never written; aux is written where the epilogue says so. float32 only.
   */
  tune(product: Tune): LtPlan {
    return translate(() => this.#device.tune(native(product)))
  }

  synchronize(): void {
    translate(() => this.#device.synchronize())
  }

  /** Waits, then frees everything that was allocated. */
  close(): void {
    translate(() => this.#device.close())
  }
}

const natives = new WeakMap<DeviceBuffer, NativeDeviceBuffer>()

// A buffer whose errors are the library's own.
function buffer(of: NativeDeviceBuffer): DeviceBuffer {
  const made: DeviceBuffer = {
    get bytes() {
      return of.bytes
    },
    write: (data, byteOffset) => translate(() => of.write(data, byteOffset)),
    read: (into, byteOffset) => translate(() => of.read(into, byteOffset)),
    free: () => translate(() => of.free()),
  }
  natives.set(made, of)
  return made
}

function native(product: Gemm): object {
  if (typeof product !== 'object' || product === null) return product
  const swap = (value: unknown) => natives.get(value as DeviceBuffer) ?? value
  return Object.fromEntries(Object.entries(product).map(([name, value]) => [name, swap(value)]))
}

function translate<T>(body: () => T): T {
  try {
    return body()
  } catch (error) {
    if (!(error instanceof Error) || error instanceof GradlineError) throw error
    const argument = (error as { code?: unknown }).code === 'GL_ARGUMENT'
    throw new GradlineError(argument ? 'argument' : 'native', error.message, { cause: error })
  }
}
