// A small plot as SVG: curves with markers, two axes, a legend. No more than the figures of this folder need.

import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'

export interface Curve {
  readonly name: string
  readonly x: readonly number[]
  /** Points that are not finite, or lie outside the range, break the curve. */
  readonly y: readonly number[]
  /** A marker on every so many points. Default 1; 0 for none. */
  readonly markEvery?: number
  readonly dashed?: boolean
}

export interface Axis {
  readonly label: string
  /** Default: from the smallest to the largest number of all curves. */
  readonly range?: readonly [number, number]
  /** Logarithmic, for positive numbers. Default false. */
  readonly log?: boolean
}

export interface Panel {
  readonly title: string
  readonly x: Axis
  readonly y: Axis
  readonly curves: readonly Curve[]
}

const colours = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'] // Okabe & Ito: told apart by everyone
const size = { width: 560, height: 400 }
const margin = { left: 62, right: 16, top: 34, bottom: 48 }

/** Draws panels in rows of `columns` and writes them to `file`, whose path it returns. */
export function plot(file: string, panels: readonly Panel[], { columns = 1, scale = 1 } = {}): string {
  const across = Math.min(columns, panels.length)
  const [width, height] = [size.width * across, size.height * Math.ceil(panels.length / across)]
  const drawn = panels.map((panel, i) => {
    const at = `translate(${size.width * (i % across)} ${size.height * Math.floor(i / across)})`
    return `<g transform="${at}">${draw(panel, i)}</g>`
  })
  const svg = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width * scale}" height="${height * scale}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="white"/>`,
    ...drawn,
    '</svg>\n',
  ].join('\n')
  const path = resolve(file)
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, svg)
  return path
}

type Place = (value: number) => number

function draw({ title, x, y, curves }: Panel, panel: number): string {
  const rangeX = rangeOf(
    x,
    curves.flatMap((curve) => curve.x),
  )
  const rangeY = rangeOf(
    y,
    curves.flatMap((curve) => curve.y),
  )
  const [left, right] = [margin.left, size.width - margin.right]
  const [top, bottom] = [margin.top, size.height - margin.bottom]
  const [atX, atY] = [placer(x, rangeX, left, right), placer(y, rangeY, bottom, top)]
  const vertical = ticksOf(x, rangeX).map((tick) => {
    const at = round(atX(tick))
    return `<path d="M${at} ${top}V${bottom}" stroke="#ddd"/><text x="${at}" y="${bottom + 16}" text-anchor="middle">${show(tick)}</text>`
  })
  const horizontal = ticksOf(y, rangeY).map((tick) => {
    const at = round(atY(tick))
    return `<path d="M${left} ${at}H${right}" stroke="#ddd"/><text x="${left - 6}" y="${at + 4}" text-anchor="end">${show(tick)}</text>`
  })
  const clip = `panel${panel}`
  return [
    `<clipPath id="${clip}"><rect x="${left}" y="${top}" width="${right - left}" height="${bottom - top}"/></clipPath>`,
    `<text x="${(left + right) / 2}" y="20" text-anchor="middle" font-size="14">${escaped(title)}</text>`,
    ...vertical,
    ...horizontal,
    `<rect x="${left}" y="${top}" width="${right - left}" height="${bottom - top}" fill="none" stroke="#444"/>`,
    `<text x="${(left + right) / 2}" y="${size.height - 12}" text-anchor="middle">${escaped(x.label)}</text>`,
    `<text transform="translate(16 ${(top + bottom) / 2}) rotate(-90)" text-anchor="middle">${escaped(y.label)}</text>`,
    `<g clip-path="url(#${clip})">${curves.map((curve, i) => drawCurve(curve, i, atX, atY)).join('\n')}</g>`,
    legend(curves, right),
  ].join('\n')
}

function drawCurve(curve: Curve, i: number, atX: Place, atY: Place): string {
  const colour = colours[i % colours.length] as string
  const points = curve.x.map((x, at) => [round(atX(x)), round(atY(curve.y[at] as number))] as const)
  let path = ''
  let joined = false
  for (const [px, py] of points) {
    const drawable = Number.isFinite(px) && Number.isFinite(py)
    if (drawable) path += `${joined ? 'L' : 'M'}${px} ${py}`
    joined = drawable
  }
  const every = curve.markEvery ?? 1
  const marks = points
    .filter(([px, py], at) => every > 0 && at % every === 0 && Number.isFinite(px) && Number.isFinite(py))
    .map(([px, py]) => mark(i, px, py, colour))
  const dashes = curve.dashed ? ' stroke-dasharray="5 4"' : ''
  return `<path d="${path}" fill="none" stroke="${colour}" stroke-width="1.5"${dashes}/>${marks.join('')}`
}

// Circle, square, triangle, cross: curves are told apart without colour too.
function mark(i: number, x: number, y: number, colour: string): string {
  const shapes = [
    `<circle cx="${x}" cy="${y}" r="3.5"/>`,
    `<rect x="${round(x - 3.2)}" y="${round(y - 3.2)}" width="6.4" height="6.4"/>`,
    `<path d="M${x} ${round(y - 4)}l4 7h-8z"/>`,
    `<path d="M${round(x - 3.5)} ${round(y - 3.5)}l7 7m0 -7l-7 7" stroke="${colour}" stroke-width="2"/>`,
  ]
  return `<g fill="${colour}">${shapes[i % shapes.length]}</g>`
}

function legend(curves: readonly Curve[], right: number): string {
  const [line, character] = [17, 6.6]
  const width = 44 + character * Math.max(...curves.map(({ name }) => name.length))
  const x = right - width - 8
  const y = margin.top + 8
  const rows = curves.map(({ name, dashed = false }, i) => {
    const [colour, at] = [colours[i % colours.length] as string, y + 13 + i * line]
    const dashes = dashed ? ' stroke-dasharray="5 4"' : ''
    return (
      `<path d="M${x + 6} ${at}h24" stroke="${colour}" stroke-width="1.5"${dashes}/>${mark(i, x + 18, at, colour)}` +
      `<text x="${x + 36}" y="${at + 4}">${escaped(name)}</text>`
    )
  })
  const box = `<rect x="${x}" y="${y}" width="${width}" height="${curves.length * line + 9}" fill="white" fill-opacity="0.85" stroke="#bbb"/>`
  return [box, ...rows].join('\n')
}

function rangeOf({ range, log = false }: Axis, values: readonly number[]): readonly [number, number] {
  if (range) return range
  const usable = values.filter((value) => Number.isFinite(value) && (!log || value > 0))
  if (usable.length === 0) return log ? [0.1, 1] : [0, 1]
  const [low, high] = [Math.min(...usable), Math.max(...usable)]
  return low === high ? [low, low + 1] : [low, high]
}

function placer({ log = false }: Axis, [low, high]: readonly [number, number], from: number, to: number): Place {
  const along = log
    ? (value: number): number => Math.log(value / low) / Math.log(high / low)
    : (value: number): number => (value - low) / (high - low)
  return (value) => from + along(value) * (to - from)
}

// Powers of ten, or round numbers 1, 2 or 5 times a power of ten apart.
function ticksOf({ log = false }: Axis, [low, high]: readonly [number, number]): number[] {
  if (log) {
    const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)]
    return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => 10 ** (first + i))
  }
  const rough = (high - low) / 6
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10)
  const first = Math.ceil(low / step - 1e-9)
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => (first + i) * step)
}

const show = (value: number): string =>
  value !== 0 && Math.abs(value) < 0.01 ? value.toExponential(0) : String(Number(value.toPrecision(6)))

const round = (value: number): number => Math.round(value * 100) / 100

const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

/** Means of what lies within `width` places of each point: a jagged curve of batch losses made readable. */
export function smooth(values: ArrayLike<number>, width = 10): number[] {
  return Array.from(values, (_, i) => {
    const part = Array.from(values).slice(Math.max(0, i - width), i + width + 1)
    return part.reduce((sum, value) => sum + value, 0) / part.length
  })
}
