/** Where a Workload API is, as the SPIFFE standard writes it. */
import { RingfenceError } from '../../base/errors.ts'

/** `unix:///run/spire/agent.sock` or `unix:/run/spire/agent.sock`; gives the path. @throws RingfenceError CONFIG */
export function parseWorkloadApiAddress(text: string): string {
  const path = /^unix:(?:\/\/)?(\/[^\0?#]{1,106})$/.exec(text)?.[1]
  if (path !== undefined && !path.startsWith('//')) return path
  throw new RingfenceError('CONFIG', `${text} is no address of a Workload API here`, {
    hint: 'it is a Unix socket, written unix:///run/spire/agent.sock: by TCP anybody in the way could take the key',
  })
}
