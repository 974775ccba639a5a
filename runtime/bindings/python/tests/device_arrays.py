"""Arrays on a CUDA device, by the driver's own functions: what numpy has none of."""

import ctypes
import unittest

import numpy as np

KINDS = {"float32": (2, 32), "float16": (2, 16), "bfloat16": (4, 16)}


class DlTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("dimensions", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
    ]


class Managed(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", DlTensor),
    ]


NAME = b"dltensor_versioned"
new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype = ctypes.py_object
new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


class Driver:
    """The driver of this process, the emulated one or a real one, with the primary context of device 0 current."""

    def __init__(self):
        try:
            self.library = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise unittest.SkipTest(f"no CUDA driver: {error}") from None
        count = ctypes.c_int()
        status = self.library.cuInit(0) or self.library.cuDeviceGetCount(ctypes.byref(count))
        if status != 0 or count.value == 0:
            raise unittest.SkipTest(f"no CUDA device: status {status}, {count.value} devices")
        self.contexts = [self.retained(device) for device in range(count.value)]
        self.make_current(0)

    def retained(self, device):
        context = ctypes.c_void_p()
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        return context

    def make_current(self, device):
        self.call("cuCtxSetCurrent", None if device is None else self.contexts[device])

    def call(self, name, *arguments):
        status = getattr(self.library, name)(*arguments)
        if status != 0:
            raise RuntimeError(f"{name} gave {status}")

    def current(self):
        context = ctypes.c_void_p()
        self.call("cuCtxGetCurrent", ctypes.byref(context))
        return context.value


class DeviceArray:
    """Numbers on a device. Of bfloat16 the host's array has the upper halves as uint16."""

    def __init__(self, driver, values, kind=None, device=0, flags=0):
        self.driver, self.device, self.flags = driver, device, flags
        self.host = np.ascontiguousarray(values)
        self.kind = kind or str(self.host.dtype)
        self.shape = self.host.shape
        self.streams = []
        self.data = ctypes.c_uint64()
        driver.make_current(device)
        driver.call("cuMemAlloc_v2", ctypes.byref(self.data), ctypes.c_size_t(self.host.nbytes))
        values = self.host
        driver.call("cuMemcpyHtoD_v2", self.data, values.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(values.nbytes))
        driver.make_current(0)

    def read(self):
        """The numbers, after all that was submitted to the default stream."""
        values = np.empty_like(self.host)
        self.driver.call("cuMemcpyDtoH_v2", values.ctypes.data_as(ctypes.c_void_p), self.data, ctypes.c_size_t(values.nbytes))
        return values

    def __dlpack_device__(self):
        return (2, self.device)

    def __dlpack__(self, *, stream=None, max_version=None):
        self.streams.append(stream)
        self.sizes = (ctypes.c_int64 * len(self.shape))(*self.shape)
        code, bits = KINDS[self.kind]
        tensor = DlTensor(
            self.data.value, *self.__dlpack_device__(), len(self.shape), code, bits, 1, self.sizes, None, 0
        )
        self.managed = Managed(1, 0, None, None, self.flags, tensor)
        return new_capsule(ctypes.addressof(self.managed), NAME, None)

    def __del__(self):
        self.driver.library.cuMemFree_v2(self.data)

