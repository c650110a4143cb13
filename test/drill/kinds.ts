/** The kinds of revocation: who is thrown out by each, and who stands nearest to him and is not. */

import type { AdminClient } from '../../src/cli/admin-client.ts'
import type { RevokeOrder } from '../../src/control/services/revocations.ts'
import { headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import { verifyPeer } from '../../src/identity/certificate.ts'
import { certificatesOf } from '../../src/identity/chain.ts'
import { signed, type TestKey } from '../../src/identity/jwt/tokens.fixture.ts'
import { describe, RawClient } from '../path/client.ts'

export interface Door {
  readonly name: string
  readonly host: string
  readonly port: number
}

export interface Pair {
  meant(door: Door): Promise<RawClient>
  neighbour(door: Door): Promise<RawClient>
  readonly order: Omit<RevokeOrder, 'reason'>
}

export interface Kind {
  readonly name: string
  /** Another pair for each round. */
  pair(round: number): Promise<Pair>
}

export interface World {
  readonly admin: AdminClient
  readonly issuer: string
  readonly keys: readonly [TestKey, TestKey]
}

const certificateMs = 3_600_000
const audience = 'ringfence'
/** Each provider's name, and that of each identity, is of policy.yaml. */
const id = (path: string): string => `spiffe://demo.local/drill/${path}`

export function kindsOf({ admin, issuer, keys }: World): Kind[] {
  const certificate = async (path: string) => {
    const { keyPem, certificatePem, bundlePem } = await admin.mint({ spiffeId: id(path), ttlMs: certificateMs })
    const credentials = { keyPem, certificatePem, bundlePem }
    const leaf = certificatesOf(certificatePem)[0]!
    const { serial, key } = verifyPeer(leaf.raw, Date.now(), 'demo.local').certificate
    return { serial, key, open: ({ host, port }: Door) => RawClient.open({ host, port, credentials }) }
  }
  const token = async (sub: string, key: TestKey, jti: string) => {
    const { bundlePem } = await admin.bundle()
    return async ({ host, port }: Door): Promise<RawClient> => {
      const iat = Math.floor(Date.now() / 1000) - 5
      const text = signed(key, { iss: issuer, aud: audience, sub, iat, exp: iat + 3_600, jti })
      const client = await RawClient.connect({ host, port, credentials: { bundlePem } })
      const asked = await client.startup()
      if (headerOpcode(asked, 0) !== Opcode.AUTHENTICATE) throw new Error(describe(asked))
      const answer = await client.logIn('token', text)
      if (headerOpcode(answer, 0) !== Opcode.AUTH_SUCCESS) throw new Error(describe(answer))
      return client
    }
  }
  return [
    {
      name: 'a SPIFFE id',
      pair: async (n) => {
        const [meant, neighbour] = [await certificate(`id${n}`), await certificate(`id${n}x`)]
        return { meant: meant.open, neighbour: neighbour.open, order: { kind: 'id', value: id(`id${n}`) } }
      },
    },
    {
      name: 'a pattern of them',
      pair: async (n) => {
        const [meant, neighbour] = [await certificate(`jobs${n}/a`), await certificate(`job${n}/a`)]
        return { meant: meant.open, neighbour: neighbour.open, order: { kind: 'id', value: id(`jobs${n}/*`) } }
      },
    },
    {
      name: 'one certificate',
      pair: async (n) => {
        const [meant, neighbour] = [await certificate(`one${n}`), await certificate(`one${n}`)]
        const order = { kind: 'one-certificate', value: meant.serial } as const
        return { meant: meant.open, neighbour: neighbour.open, order }
      },
    },
    {
      name: 'a key',
      pair: async (n) => {
        const [meant, neighbour] = [await certificate(`key${n}`), await certificate(`key${n}`)]
        return { meant: meant.open, neighbour: neighbour.open, order: { kind: 'key', value: meant.key } }
      },
    },
    {
      name: 'a person',
      pair: async (n) => ({
        meant: await token(`p${n}`, keys[0], `p${n}`),
        neighbour: await token(`p${n}x`, keys[0], `p${n}x`),
        order: { kind: 'person', value: `corp/p${n}` },
      }),
    },
    {
      name: 'a token',
      pair: async (n) => ({
        meant: await token(`t${n}`, keys[0], `first${n}`),
        neighbour: await token(`t${n}`, keys[0], `second${n}`),
        order: { kind: 'one-token', value: `first${n}` },
      }),
    },
    {
      name: 'a key of an issuer',
      pair: async (n) => ({
        meant: await token(`k${n}`, keys[0], `k${n}`),
        neighbour: await token(`k${n}`, keys[1], `k${n}x`),
        order: { kind: 'issuer-key', value: keys[0].kid, provider: 'corp' },
      }),
    },
  ]
}
