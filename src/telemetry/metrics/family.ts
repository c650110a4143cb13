/**
 * Metrics: what a role counts, as Prometheus reads it. Counting is cheap and goes on all the time; families are put together when somebody
 * asks for them.
 *
 * The rule one must not break: the number of series has a bound, whatever clients call themselves, their tables and their statements. What has
 * no room is counted under `other`, and what was counted there is a metric too.
 *
 * This file: a family as data, which a worker can send to its supervisor, and families of several processes as one.
 */

export type Labels = Readonly<Record<string, string>>

export interface Sample {
  readonly labels: Labels
  readonly value: number
}

export interface HistogramSample {
  readonly labels: Labels
  /** How many there are in each bucket, not added up; one more than there are bounds. */
  readonly buckets: readonly number[]
  readonly sum: number
}

interface Named {
  /** A counter's without `_total`. */
  readonly name: string
  readonly help: string
}

export interface CounterFamily extends Named {
  readonly type: 'counter'
  readonly samples: readonly Sample[]
}

export interface GaugeFamily extends Named {
  readonly type: 'gauge'
  readonly samples: readonly Sample[]
  /** What several processes have together. */
  readonly across: 'sum' | 'max' | 'min'
}

export interface HistogramFamily extends Named {
  readonly type: 'histogram'
  /** Upper ends of the buckets; that of the last is endless. */
  readonly bounds: readonly number[]
  readonly samples: readonly HistogramSample[]
}

export type Family = CounterFamily | GaugeFamily | HistogramFamily

export function counter(name: string, help: string, samples: readonly Sample[] | number): CounterFamily {
  return { type: 'counter', name, help, samples: samplesOf(samples) }
}

export function gauge(
  name: string,
  help: string,
  samples: readonly Sample[] | number,
  across: GaugeFamily['across'] = 'sum',
): GaugeFamily {
  return { type: 'gauge', name, help, samples: samplesOf(samples), across }
}

/** A sample for each word. */
export function byWord(label: string, counts: Iterable<readonly [string, number]>): Sample[] {
  return Array.from(counts, ([word, value]) => ({ labels: { [label]: word }, value }))
}

function samplesOf(samples: readonly Sample[] | number): readonly Sample[] {
  return typeof samples === 'number' ? [{ labels: {}, value: samples }] : samples
}

/** What several processes of one role say, as if it were one. */
export function sumFamilies(lists: readonly (readonly Family[])[]): Family[] {
  const byName = new Map<string, Family[]>()
  for (const family of lists.flat()) {
    const same = byName.get(family.name)
    if (same === undefined) byName.set(family.name, [family])
    else same.push(family)
  }
  return Array.from(byName.values(), sumOf)
}

function sumOf(same: readonly Family[]): Family {
  const first = same[0]!
  if (same.length === 1) return first
  if (first.type === 'histogram') {
    const others = same.filter((family) => family.type === 'histogram')
    const samples = groups(others.flatMap(({ samples }) => samples)).map(addUp)
    return { ...first, samples }
  }
  const plain = same.filter((family) => family.type !== 'histogram')
  const across = first.type === 'gauge' ? first.across : 'sum'
  const samples = groups(plain.flatMap(({ samples }) => samples)).map((group) => ({
    labels: group[0]!.labels,
    value: together(
      group.map(({ value }) => value),
      across,
    ),
  }))
  return { ...first, samples }
}

function together(values: readonly number[], across: GaugeFamily['across']): number {
  if (across === 'sum') return values.reduce((sum, value) => sum + value, 0)
  return across === 'max' ? Math.max(...values) : Math.min(...values)
}

function addUp(group: readonly HistogramSample[]): HistogramSample {
  const { labels, buckets } = group[0]!
  return {
    labels,
    buckets: buckets.map((_, at) => group.reduce((sum, each) => sum + (each.buckets[at] ?? 0), 0)),
    sum: group.reduce((sum, each) => sum + each.sum, 0),
  }
}

function groups<T extends { readonly labels: Labels }>(samples: readonly T[]): T[][] {
  const byLabels = new Map<string, T[]>()
  for (const sample of samples) {
    const key = JSON.stringify(sample.labels)
    const group = byLabels.get(key)
    if (group === undefined) byLabels.set(key, [sample])
    else group.push(sample)
  }
  return [...byLabels.values()]
}
