/**
 * One request's values against what its permit asks of them. It runs for every request, so it makes nothing while all is well.
 */
import type { RequestCheck, RequestTest } from '../obligations.ts'
import type { RequestValues } from '../request.ts'
import type { DataDenial } from './findings.ts'
import { builtinChecks } from './rules.ts'

export interface CheckVerdict {
  /** The first check in force that does not hold. */
  readonly denial: DataDenial | undefined
  /** Names of observed rules whose checks do not hold, joined by `,`. */
  readonly observed: string | undefined
}

const met: CheckVerdict = { denial: undefined, observed: undefined }

/**
 * @param checks of the permit's obligations; undefined where it has none, which leaves the checks that every request must meet
 * @param values the request's; of a BATCH message, those of the statement that the checks are of
 */
export function checkRequest(checks: readonly RequestCheck[] | undefined, values: RequestValues): CheckVerdict {
  const all = checks ?? builtinChecks
  for (let i = 0; i < all.length; i++) {
    if (!holds(all[i]!.test, values)) return verdictOf(all, values)
  }
  return met
}

function verdictOf(checks: readonly RequestCheck[], values: RequestValues): CheckVerdict {
  const failed = checks.filter(({ test }) => !holds(test, values))
  const enforced = failed.find(({ observe }) => !observe)
  const observed = new Set(failed.filter(({ observe }) => observe).map(({ rule }) => rule))
  return {
    denial: enforced === undefined ? undefined : { rule: enforced.rule, text: enforced.text },
    observed: observed.size === 0 ? undefined : [...observed].join(','),
  }
}

function holds(test: RequestTest, values: RequestValues): boolean {
  switch (test.kind) {
    case 'ttl': {
      if (values.unset(test.marker)) return !test.required
      const seconds = Number(values.integer(test.marker) ?? 0n)
      return seconds >= test.minSeconds && (test.maxSeconds === undefined || seconds <= test.maxSeconds)
    }
    case 'timestamp': {
      const named = test.literalMicros ?? (test.marker === undefined ? null : values.integer(test.marker))
      const micros = named ?? values.defaultTimestampMicros
      // Without any, the node takes its own clock.
      if (micros === undefined) return true
      const aheadMs = Number(micros) / 1000 - values.nowMs
      if (test.futureMs !== undefined && aheadMs > test.futureMs) return false
      return test.pastMs === undefined || -aheadMs <= test.pastMs
    }
    case 'nowInSeconds':
      return values.nowInSeconds === undefined
    case 'pageSize': {
      if (isBetween(values.pageSize, test.max)) return true
      return test.limitMarker !== undefined && isBetween(integerOf(values, test.limitMarker), test.max)
    }
    case 'inSize':
      return test.times * productOf(values, test.markers) <= test.max
    case 'limit':
      return isBetween(integerOf(values, test.marker), test.max)
    case 'partitions':
      return values.partitions <= test.max
    case 'partitionLists': {
      let { written } = test
      for (let i = 0; i < test.lists.length && written <= test.max; i++) {
        const { times, markers } = test.lists[i]!
        written += times * productOf(values, markers)
      }
      return written <= test.max
    }
    case 'nothingRemoved': {
      for (let i = 0; i < test.notNull.length; i++) if (values.isNull(test.notNull[i]!)) return false
      for (let i = 0; i < test.unset.length; i++) if (!values.unset(test.unset[i]!)) return false
      return true
    }
  }
}

/** Of the sizes of lists. Cassandra refuses null and unset too, and what is malformed cannot be counted: that is more than any bound. */
export function productOf(values: RequestValues, markers: readonly number[]): number {
  let product = 1
  for (let i = 0; i < markers.length; i++) {
    const size = values.listSize(markers[i]!)
    if (size === null) return Number.POSITIVE_INFINITY
    product *= size
  }
  return product
}

function integerOf(values: RequestValues, marker: number): number | undefined {
  const value = values.integer(marker)
  return value === null ? undefined : Number(value)
}

function isBetween(value: number | undefined, max: number): boolean {
  return value !== undefined && value >= 1 && value <= max
}
