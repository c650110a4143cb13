/** The policy of a mesh that is measured. */

/**
 * `count` rules that all concern the identity that makes the load: the last one permits it, the others give it tables that it does not
 * ask for.
 *
 * @param subject a SPIFFE id or a pattern of such
 */
export function policyOf(count: number, subject: string, keyspace: string): string {
  const rules = Array.from({ length: count }, (_, n) => ({
    apiVersion: 'ringfence.dev/v1alpha1',
    kind: 'AccessPolicy',
    metadata: { name: `rule-${n + 1}` },
    spec: {
      subjects: [{ spiffeId: subject }],
      keyspaces: [keyspace],
      ...(n + 1 < count && { tables: [`other_${n}`] }),
      // Permissions that every commit knows, for `--against`.
      operations: ['SELECT', ...(n + 1 === count ? ['MODIFY'] : [])],
    },
  }))
  // JSON is YAML.
  return rules.map((rule) => JSON.stringify(rule)).join('\n---\n')
}

/** The same with rate limits that nobody reaches, in requests, rows and bytes: what it costs to count. */
export function limitedPolicyOf(count: number, subject: string, keyspace: string): string {
  const limits = [
    { perIdentity: '1000000000/s' },
    { total: '1000000000000/s', unit: 'rows' },
    { perIdentity: '1000000GiB/s', unit: 'bytes', keyspaces: [keyspace] },
  ].map((spec, n) => {
    const metadata = { name: `limit-${n + 1}` }
    return JSON.stringify({ apiVersion: 'ringfence.dev/v1alpha1', kind: 'RateLimitPolicy', metadata, spec })
  })
  return [policyOf(count, subject, keyspace), ...limits].join('\n---\n')
}
