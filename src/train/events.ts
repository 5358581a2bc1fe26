// What a training run reports: while it runs as events, at the end as its history.

import type { ProgramMemory } from '../program.js'

/** Means over samples: the loss under 'loss', each metric under its name. */
export type Measures = { readonly loss: number } & { readonly [metric: string]: number }

/** Before the first step. */
export interface StartEvent {
  readonly kind: 'start'
  readonly device: string
  /** Undefined where only a source of batches knows. */
  readonly samples: number | undefined
  readonly validationSamples: number | undefined
  readonly parameters: number
  readonly epochs: number
  readonly batchSize: number
  /** Undefined where only a source of batches knows. */
  readonly stepsPerEpoch: number | undefined
  readonly memory: ProgramMemory
}

/** Now and then within an epoch; means since the epoch began. */
export interface ProgressEvent {
  readonly kind: 'progress'
  readonly epoch: number
  readonly epochs: number
  /** Steps of this epoch done. */
  readonly step: number
  /** Of a source of batches: as many as the epoch before had, undefined in the first. */
  readonly stepsPerEpoch: number | undefined
  readonly train: Measures
  readonly samplesPerSecond: number
}

/** At the end of each epoch. */
export interface EpochEvent {
  readonly kind: 'epoch'
  /** Counts from 1. */
  readonly epoch: number
  readonly epochs: number
  /** Means over the epoch, measured on each batch before its update. */
  readonly train: Measures
  readonly validation: Measures | undefined
  /** Training only, without validation. */
  readonly samplesPerSecond: number
  readonly seconds: number
  /** Updates left out in this epoch since a gradient was not finite. */
  readonly skipped: number
}

export type FitEvent = StartEvent | ProgressEvent | EpochEvent

export interface History {
  readonly epochs: EpochEvent[]
  /** Seconds spent in training steps. */
  seconds: number
  /** Why the run ended before its last epoch. */
  stopped?: string
  /** Set when weights of an earlier epoch were restored. */
  bestEpoch?: number
}
