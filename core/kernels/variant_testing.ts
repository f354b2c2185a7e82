/**
 * Lets tests run every variant of a kernel on the adapter at hand.
 *
 * @module
 */
import type { Capabilities, Device } from "../device/mod.ts";

/** The same device, claiming other capabilities. */
export function pretending(device: Device, claims: Partial<Capabilities>): Device {
  const capabilities = { ...device.capabilities, ...claims };
  return new Proxy(device, {
    get(target, name) {
      if (name === "capabilities") return capabilities;
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** The device as it is and, for WebGPU, as a GPU with and without subgroups and as a software adapter without them. */
export function variants(device: Device): readonly { name: string; device: Device }[] {
  const itself = { name: device.kind, device };
  if (device.kind !== "webgpu") return [itself];
  return [
    itself,
    { name: "gpu", device: pretending(device, { software: false }) },
    {
      name: "gpu without subgroups",
      device: pretending(device, { software: false, subgroups: false, subgroupSizes: [0, 0] }),
    },
    {
      name: "software without subgroups",
      device: pretending(device, { software: true, subgroups: false, subgroupSizes: [0, 0] }),
    },
  ];
}
