/** One identity for each verdict, and the neighbour. */
const domain = 'spiffe://bench.local/workload'

/** What becomes of the statements of `bench` that the identity of that name sends. */
export const verdicts = ['permitted', 'refused', 'masked', 'observed'] as const
export type Verdict = (typeof verdicts)[number]
export const neighbour = `${domain}/neighbour`

export function subjectOf(verdict: Verdict): string {
  return `${domain}/${verdict}`
}

/** `more` rules that concern everybody and permit what nobody asks for. */
export function dearestPolicy(more = 0): string {
  const of = (spiffeId: string) => ({ subjects: [{ spiffeId }] })
  const document = (kind: string, name: string, spec: object) =>
    JSON.stringify({ apiVersion: 'ringfence.dev/v1alpha1', kind, metadata: { name }, spec })
  const all = { keyspaces: ['bench'], operations: ['ALL'] }
  const columns = { keyspaces: ['bench'], operations: ['SELECT', 'MODIFY'], columns: ['v', 'C*', 'c*', 'k'] }
  return [
    document('AccessPolicy', 'neighbour', { ...of(neighbour), ...all }),
    document('AccessPolicy', 'permitted', { ...of(subjectOf('permitted')), ...all }),
    document('AccessPolicy', 'masked', { ...of(subjectOf('masked')), ...all }),
    document('AccessPolicy', 'observed', { ...of(subjectOf('observed')), ...all, mode: 'observe' }),
    document('AccessPolicy', 'by-column', { ...of(subjectOf('permitted')), ...columns }),
    document('MaskingPolicy', 'mask', { ...of(subjectOf('masked')), ...columns, operations: undefined, mask: 'full' }),
    ...Array.from({ length: more }, (_, at) =>
      document('AccessPolicy', `r${at}`, {
        ...of(`${domain}/*`),
        keyspaces: ['bench'],
        tables: [`o${at}`],
        operations: ['ALL'],
      }),
    ),
  ].join('\n---\n')
}
