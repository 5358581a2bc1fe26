// The one error class of the library, and the checks that write its messages: "Expected X for Y but received Z", where it
// happened, and a likely fix. Everything here is pure text work; it knows nothing of tensors, files or the native program.

/**
 * What went wrong, for programs that react to errors:
 * - `argument`: a value of the wrong kind or outside its range; `shape`: sizes that do not fit each other
 * - `data`: the contents of a data set or file; `missing`: something to install or a file that is not there
 * - `file`: the operating system refused to read or write
 * - `state`: a call at the wrong time; `recording`: something a recorded program cannot do, or a call outside a recording
 * - `native`: the native program failed or cannot be loaded; `aborted`: stopped by a signal; `busy`: in use by another run
 */
export type ErrorCode =
  | 'argument'
  | 'shape'
  | 'data'
  | 'missing'
  | 'file'
  | 'state'
  | 'recording'
  | 'native'
  | 'aborted'
  | 'busy'

export interface ErrorDetails {
  /** A layer path, a file, a function: appended to the message as `(at ...)`. */
  readonly where?: string | undefined
  /** A sentence that tells what to change; appended to the message. */
  readonly fix?: string | undefined
  readonly cause?: unknown
}

export class GradlineError extends Error {
  readonly code: ErrorCode
  readonly where: string | undefined

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(compose(message, details), details.cause === undefined ? undefined : { cause: details.cause })
    this.name = 'GradlineError'
    this.code = code
    this.where = details.where
  }
}

function compose(message: string, { where, fix }: ErrorDetails): string {
  if (where === undefined && fix === undefined) return message
  const open = message.endsWith('.') ? message.slice(0, -1) : message
  return `${open}${where === undefined ? '' : ` (at ${where})`}.${fix === undefined ? '' : ` ${fix}`}`
}

export interface ExpectedDetails extends ErrorDetails {
  /** Default `argument`. */
  readonly code?: ErrorCode
}

/** The error "Expected `what` for `name` but received ...", to be thrown by the caller. */
export function expected(what: string, name: string, received: unknown, details: ExpectedDetails = {}): GradlineError {
  const message = `Expected ${what} for ${name} but received ${describeValue(received)}`
  return new GradlineError(details.code ?? 'argument', message, details)
}

const textLength = 60
const listLength = 6

/** A short, one-line description of any value. Never throws, whatever getters or proxies the value carries. */
export function describeValue(value: unknown): string {
  try {
    return describe(value, 0)
  } catch {
    return 'an object that cannot be inspected'
  }
}

function describe(value: unknown, depth: number): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value.length > textLength ? `${value.slice(0, textLength)}...` : value)
    case 'bigint':
      return value > -(10n ** 24n) && value < 10n ** 24n ? `${value}n` : 'a very large bigint'
    case 'number':
      return Object.is(value, -0) ? '-0' : String(value)
    case 'function':
      return value.name === '' ? 'a function' : `function ${value.name.slice(0, textLength)}`
    case 'object':
      return value === null ? 'null' : describeObject(value, depth)
    default:
      return String(value)
  }
}

function describeObject(value: object, depth: number): string {
  if (Array.isArray(value)) {
    if (depth > 1) return `an array of ${value.length}`
    const shown = value.slice(0, listLength).map((item) => describe(item, depth + 1))
    if (value.length > listLength) shown.push(`... ${value.length} in all`)
    return `[${shown.join(', ')}]`
  }
  const made: unknown = value.constructor
  const name = typeof made === 'function' && made.name !== '' ? made.name.slice(0, textLength) : 'Object'
  if (ArrayBuffer.isView(value)) return `${name}(${'length' in value ? value.length : value.byteLength})`
  if (value instanceof ArrayBuffer) return `${name}(${value.byteLength})`
  if (value instanceof Map || value instanceof Set) return `${name}(${value.size})`
  if (value instanceof Promise) return 'a Promise (is an await missing?)'
  if (value instanceof Error) return `${name}: ${value.message.slice(0, textLength)}`
  if (name !== 'Object') return `an object of class ${name}`
  const keys = Object.keys(value)
  const shown = keys.slice(0, listLength).map((key) => key.slice(0, textLength))
  return `{${shown.join(', ')}${keys.length > listLength ? ', ...' : ''}}`
}

export interface IntegerRange extends ExpectedDetails {
  /** Smallest value allowed. Default: no bound but that of safe integers. */
  readonly min?: number
  /** Largest value allowed. */
  readonly max?: number
}

/** Returns `value` if it is an integer (below 2^53 in size) in the range, else throws. */
export function checkInteger(name: string, value: unknown, range: IntegerRange = {}): number {
  const { min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER } = range
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max) return value
  throw expected(integerText(range), name, value, range)
}

function integerText({ min, max }: IntegerRange): string {
  if (min !== undefined && max !== undefined) return `an integer from ${min} to ${max}`
  if (max !== undefined) return `an integer of at most ${max}`
  if (min === undefined) return 'an integer'
  return min === 1 ? 'a positive integer' : min === 0 ? 'a non-negative integer' : `an integer of at least ${min}`
}

export interface NumberRange extends ExpectedDetails {
  /** Smallest and largest value allowed. Default: any finite number. */
  readonly min?: number
  readonly max?: number
  /** Bounds that are themselves not allowed. */
  readonly above?: number
  readonly below?: number
}

/** Returns `value` if it is a finite number in the range, else throws. */
export function checkFinite(name: string, value: unknown, range: NumberRange = {}): number {
  const { min, max, above, below } = range
  if (
    typeof value === 'number' &&
    Number.isFinite(value) &&
    value >= (min ?? -Infinity) &&
    value <= (max ?? Infinity) &&
    value > (above ?? -Infinity) &&
    value < (below ?? Infinity)
  ) {
    return value
  }
  const bounds: string[] = []
  if (min !== undefined) bounds.push(`at least ${min}`)
  if (above !== undefined) bounds.push(`above ${above}`)
  if (max !== undefined) bounds.push(`at most ${max}`)
  if (below !== undefined) bounds.push(`below ${below}`)
  const text = bounds.length === 0 ? 'a finite number' : `a finite number ${bounds.join(' and ')}`
  throw expected(text, name, value, range)
}

/** Returns `value` if it is a function, else throws. */
export function checkFunction<F>(name: string, value: F, what = 'a function'): F {
  if (typeof value === 'function') return value
  throw expected(what, name, value)
}

/** Returns `value` if it is a text that is not empty, else throws. */
export function checkText(name: string, value: unknown): string {
  if (typeof value === 'string' && value !== '') return value
  throw expected('a text', name, value)
}

/** Returns `value` if it is one of `allowed` (compared by ===), else throws and names the nearest allowed text. */
export function checkOneOf<const T extends string | number | boolean>(
  name: string,
  value: unknown,
  allowed: readonly T[],
  details: ExpectedDetails = {},
): T {
  for (const choice of allowed) if (choice === value) return choice
  const texts = allowed.filter((choice) => typeof choice === 'string')
  const near = typeof value === 'string' ? nearest(value, texts) : undefined
  const fix = details.fix ?? (near === undefined ? undefined : `Did you mean ${JSON.stringify(near)}?`)
  throw expected(`one of ${allowed.map((choice) => JSON.stringify(choice)).join(', ')}`, name, value, {
    ...details,
    fix,
  })
}

/**
 * Checks that `options` is undefined or an object whose keys are all in `allowed`; returns it, or an empty object. `where`
 * is the function that takes the options. The error names the unknown key and the nearest allowed one.
 */
export function checkOptions<T extends object>(
  where: string,
  options: T | undefined,
  allowed: readonly string[],
): Partial<T> {
  if (options === undefined) return {}
  if (typeof options !== 'object' || options === null || Array.isArray(options) || ArrayBuffer.isView(options)) {
    throw expected('an object', `the options of ${where}`, options)
  }
  for (const key of Object.keys(options)) {
    if (allowed.includes(key)) continue
    // A layer called with a tensor, a loss with its data: what is wrong is not the name of an option.
    if (!isPlain(options)) throw expected('a plain object', `the options of ${where}`, options)
    const near = nearest(key, allowed)
    const names = allowed.length === 0 ? 'no options' : `options among ${allowed.join(', ')}`
    throw new GradlineError('argument', `Expected ${names} for ${where} but received ${describeValue(key)}.`, {
      fix: near === undefined ? undefined : `Did you mean ${JSON.stringify(near)}?`,
    })
  }
  return options
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null
}

/** The candidate most like `text`, or undefined if none is near enough to be what was meant. */
export function nearest(text: string, candidates: readonly string[]): string | undefined {
  const given = text.slice(0, textLength).toLowerCase()
  let best: string | undefined
  let bestDistance = Infinity
  for (const candidate of candidates) {
    const wanted = candidate.toLowerCase()
    let distance = editDistance(given, wanted)
    if (distance > 1 && (abbreviates(wanted, given) || abbreviates(given, wanted))) distance = 1
    if (distance < bestDistance && distance <= Math.max(2, Math.ceil(wanted.length / 2))) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

// lr for learningRate, val for validation: same first letter, the others in order.
function abbreviates(short: string, long: string): boolean {
  if (short.length < 2 || short[0] !== long[0]) return false
  let found = 0
  for (const letter of long) if (letter === short[found]) found += 1
  return found === short.length
}

// Insertions, deletions and replacements (Levenshtein 1966), by the usual table kept as one row.
function editDistance(a: string, b: string): number {
  const row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i += 1) {
    let diagonal = i - 1
    row[0] = i
    for (let j = 1; j <= b.length; j += 1) {
      const above = row[j] ?? 0
      const replaced = diagonal + (a[i - 1] === b[j - 1] ? 0 : 1)
      row[j] = Math.min(replaced, above + 1, (row[j - 1] ?? 0) + 1)
      diagonal = above
    }
  }
  return row[b.length] ?? 0
}

const systemReasons: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or folder',
  EACCES: 'permission denied',
  EPERM: 'the operation is not permitted',
  EISDIR: 'it is a folder',
  ENOTDIR: 'a part of the path is not a folder',
  ENOSPC: 'no space left on the disk',
  EDQUOT: 'the disk quota is used up',
  EROFS: 'the file system is read-only',
  EMFILE: 'too many open files',
  ENAMETOOLONG: 'the name is too long',
}

/** The error for a file that the operating system would not `action` (a verb: read, write): code `missing` or `file`. */
export function fileError(action: string, path: string, cause: unknown): GradlineError {
  const system = cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : ''
  const reason = systemReasons[system] ?? (cause instanceof Error ? cause.message : describeValue(cause))
  return new GradlineError(system === 'ENOENT' ? 'missing' : 'file', `Cannot ${action} ${path}: ${reason}.`, { cause })
}
