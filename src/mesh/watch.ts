/**
 * The watch stream: one JSON object a line, `kind` and the fields of a pushed value. Kinds that an older agent does not know are skipped
 * by it. `alive` lines carry no value.
 */
import { limits } from '../base/limits.ts'
import type { Logger } from '../telemetry/log.ts'
import type { PushedKind } from './pushed-kind.ts'

/** At most a policy, written as JSON. Lists that would be longer are sent as far as they fit. */
export const watchLineBytesMax = 6 * limits.policyBytesMax + 4096

/** The control plane sends an `alive` line this often; silence of three times as long is a dead stream. */
export const aliveIntervalMs = 2_000

export const aliveKind = 'alive'

export function aliveLine(nowMs: number): string {
  return `${JSON.stringify({ kind: aliveKind, nowMs })}\n`
}

/** The value as a line; a list that would be longer than its reader takes loses its last entries. */
export function lineOf<T>(
  kind: PushedKind<T>,
  value: T,
  log: Pick<Logger, 'error'>,
  lengthMax: number = watchLineBytesMax,
): string {
  const { name } = kind
  const fields = kind.write(value)
  const line = JSON.stringify({ kind: name, ...fields })
  const entries = fields[name]
  if (line.length <= lengthMax || !kind.isList || !Array.isArray(entries)) return `${line}\n`
  let left = lengthMax - JSON.stringify({ kind: name, [name]: [] }).length
  const kept: string[] = []
  for (const entry of entries) {
    const text = JSON.stringify(entry)
    left -= text.length + 1
    if (left < 0) break
    kept.push(text)
  }
  log.error({ kind: name, untold: entries.length - kept.length }, 'list is too long for the watch stream')
  return `{"kind":"${name}","${name}":[${kept.join()}]}\n`
}
