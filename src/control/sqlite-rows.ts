/** How rows of the control plane's SQLite store are read, and what stands in them as text. */
import type { RevokedKind } from '../identity/revoked/revocation.ts'
import type { AgentRole } from '../mesh/roles.ts'
import type { WitnessedLog } from '../mesh/witness.ts'
import type { AgentRow, AltNames, Issuance, RevocationRow } from './store.ts'

export function agentOf(row: Record<string, unknown>): AgentRow {
  return {
    spiffeId: String(row.spiffe_id),
    role: row.role as AgentRole,
    name: String(row.name),
    ...altNamesOf(row.alt_names),
  }
}

export function issuanceOf(row: Record<string, unknown>): Issuance {
  return {
    serial: String(row.serial),
    spiffeId: String(row.spiffe_id),
    reason: row.reason as Issuance['reason'],
    caller: String(row.caller),
    issuedAtMs: Number(row.issued_ms),
    notAfterMs: Number(row.not_after_ms),
  }
}

export function revocationOf(row: Record<string, unknown>): RevocationRow {
  return {
    id: Number(row.id),
    kind: row.kind as RevokedKind,
    value: String(row.value),
    ...(row.provider === null ? {} : { provider: String(row.provider) }),
    reason: String(row.reason),
    by: String(row.by),
    createdAtMs: Number(row.created_ms),
    ...(row.suspends === null ? {} : { suspends: String(row.suspends) }),
    untilMs: row.until_ms === null ? undefined : Number(row.until_ms),
    ended:
      row.ended_ms === null
        ? undefined
        : { atMs: Number(row.ended_ms), by: String(row.ended_by), reason: String(row.ended_reason) },
  }
}

export function altNamesText({ ipAddresses, dnsNames, listenerIdentities }: AltNames): string {
  return JSON.stringify({ ipAddresses, dnsNames, listenerIdentities })
}

/** Rows of before there were listener identities name none. */
export function altNamesOf(text: unknown): AltNames {
  return { listenerIdentities: [], ...(JSON.parse(String(text)) as Omit<AltNames, 'listenerIdentities'>) }
}

export function witnessedOf(row: Record<string, unknown>): WitnessedLog {
  return {
    origin: String(row.origin),
    key: String(row.key),
    size: Number(row.size),
    atMs: Number(row.at_ms),
    checkpoint: String(row.checkpoint),
  }
}
