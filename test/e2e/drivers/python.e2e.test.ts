/** Python `cassandra-driver`: protocol v5 and v4, with and without LZ4. */
import { driverSuite } from './drive.ts'

driverSuite('python', [
  { door: 'nginx', protocol: 5, compression: 'none', as: 'owner' },
  { door: 'nginx', protocol: 4, compression: 'lz4', as: 'admin' },
  { door: 'sidecar', protocol: 5, compression: 'lz4', as: 'admin' },
  { door: 'sidecar', protocol: 4, compression: 'none', as: 'admin' },
])
