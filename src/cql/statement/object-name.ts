/** JMX object names as `javax.management.ObjectName` reads them: Cassandra refuses others while it parses a GRANT. */

/**
 * Whether the text is an object name that Cassandra takes after MBEAN, or after MBEANS (`plural`: it must be a pattern).
 * Quoted values are refused, which is stricter than Java.
 */
export function isObjectName(text: string, plural: boolean): boolean {
  if (text === '' || text === '*:*') return false
  const colon = text.indexOf(':')
  if (colon < 0 || /[\n\r"]/.test(text)) return false
  const domain = text.slice(0, colon)
  let pattern = /[*?]/.test(domain)
  const keys = new Set<string>()
  const properties = text.slice(colon + 1).split(',')
  let wildcards = 0
  for (const property of properties) {
    if (property === '*') {
      wildcards += 1
      pattern = true
      continue
    }
    const equals = property.indexOf('=')
    if (equals < 1) return false
    const key = property.slice(0, equals)
    const value = property.slice(equals + 1)
    if (keys.has(key) || value === '' || /[*?:]/.test(key) || /[=:]/.test(value)) return false
    keys.add(key)
    pattern ||= /[*?]/.test(value)
  }
  return wildcards <= 1 && (pattern || !plural)
}
