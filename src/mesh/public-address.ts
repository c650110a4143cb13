/** Which addresses are public: a server that is called because a document names it must not be one of the host or network by accident. */
import { BlockList, isIPv6 } from 'node:net'

/** Networks of hosts' own and of private networks (RFC 1918, RFC 4193, RFC 6598). May be called where a document says so. */
const ownNetworks = listOf(
  ['10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'],
  ['::1/128', 'fc00::/7'],
)
/** Never: link-local, where clouds have their metadata, multicast, reserved, and IPv4 in the disguise of IPv6. */
const neverCalled = listOf(
  ['0.0.0.0/8', '169.254.0.0/16', '192.0.0.0/24', '198.18.0.0/15', '224.0.0.0/4', '240.0.0.0/4'],
  ['::/128', 'fe80::/10', 'ff00::/8', '64:ff9b::/96', '64:ff9b:1::/48', '2002::/16'],
)
const loopback = listOf(['127.0.0.0/8'], ['::1/128'])

function listOf(ipv4: readonly string[], ipv6: readonly string[]): BlockList {
  const list = new BlockList()
  for (const [networks, family] of [[ipv4, 'ipv4'] as const, [ipv6, 'ipv6'] as const]) {
    for (const network of networks) {
      const [address = '', bits] = network.split('/')
      list.addSubnet(address, Number(bits), family)
    }
  }
  return list
}

function isIn(list: BlockList, address: string): boolean {
  return list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')
}

/** Why an address may not be called; undefined where it may. An IPv4 address inside IPv6 (`::ffff:…`) is that IPv4 address. */
export function addressFault(address: string, allowPrivate: boolean): string | undefined {
  if (isIn(neverCalled, address)) return `${address} is never called`
  if (!allowPrivate && isIn(ownNetworks, address))
    return `${address} is not a public address; "allowPrivate: true" allows it`
  return undefined
}

export function isLoopback(address: string): boolean {
  return isIn(loopback, address)
}
