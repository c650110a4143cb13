/** Bodies of enrolment that no control plane takes, for its tests and for the benchmark's strangers. */
const csrPem = `-----BEGIN CERTIFICATE REQUEST-----\n${'A'.repeat(4_000)}\n-----END CERTIFICATE REQUEST-----`

export const junkBodies: readonly string[] = [
  JSON.stringify({ token: 'x'.repeat(100), csrPem, name: 'x', role: 'sidecar' }),
  '{"token":',
  '[]',
  '{"token":"x","csrPem":"x","name":"x","role":"node"}',
]
