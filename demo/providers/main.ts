/**
 * Who vouches for people and for the cloud job: two issuers in one process, on loopback. Settings come from the environment: DEMO_CORP and
 * DEMO_CLOUD (address:port), DEMO_SITE (of the web application), DEMO_SECRETS (folder).
 */
import { createServer, type RequestListener } from 'node:http'
import { setting } from '../told.ts'
import { cloudIssuer } from './cloud.ts'
import { corpProvider } from './corp.ts'
import { type Holder, readSecret, secretFile } from './secrets.ts'

const secretOf = (holder: Holder): string => readSecret(secretFile(setting('DEMO_SECRETS'), holder))
const [corp, cloud] = [setting('DEMO_CORP'), setting('DEMO_CLOUD')]

serve(
  corp,
  corpProvider({
    issuer: `http://${corp}`,
    site: setting('DEMO_SITE'),
    shopSecret: secretOf('shop'),
    people: new Map([
      ['alice', { password: secretOf('alice'), groups: ['analysts'] }],
      ['bob', { password: secretOf('bob'), groups: ['interns'] }],
    ]),
  }),
)
serve(cloud, cloudIssuer(`http://${cloud}`, secretOf('forecast')))

function serve(at: string, listener: RequestListener): void {
  const { hostname, port } = new URL(`http://${at}`)
  createServer(listener).listen(Number(port), hostname)
}
