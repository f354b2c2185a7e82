/**
 * The project's error types. The command line turns them into one sentence and an exit code.
 *
 * @module
 */

/**
 * Unusable input or wrong usage: an unreadable file, a malformed checkpoint, an unknown flag, a region outside the
 * image. The message is one sentence that names the file or flag, says what is wrong and what to do. Exit code 2.
 */
export class InputError extends Error {
  /** Always `InputError`, to tell the classes apart where `instanceof` cannot. */
  override name = "InputError";
  /** Machine-readable class of the problem, such as `MISSING_TENSOR` or `IMAGE_TOO_LARGE`. */
  readonly code: string;

  /**
   * An error about input.
   *
   * @param code Machine-readable class of the problem.
   * @param message One sentence, without a final full stop.
   */
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * The device failed or cannot do what was asked: no adapter, out of memory, over a limit, lost. Exit code 1.
 */
export class DeviceError extends Error {
  /** Always `DeviceError`, to tell the classes apart where `instanceof` cannot. */
  override name = "DeviceError";
  /** Machine-readable class of the problem, such as `NO_ADAPTER`, `OUT_OF_MEMORY` or `DEVICE_LOST`. */
  readonly code: string;

  /**
   * An error about a device.
   *
   * @param code Machine-readable class of the problem.
   * @param message One sentence, without a final full stop.
   */
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
